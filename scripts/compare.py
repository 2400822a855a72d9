"""Compare the models of all runs."""

from pathlib import Path

import openvino as ov

from detmake import logs
from detmake.data import subsets
from detmake.evaluation import speed
from detmake.model import device
from detmake.report import comparison
from detmake.runtime.images import read_image

with logs.job(snakemake.log[0]) as log:
    device.use("cpu")

    from detmake.model.loader import load_for_speed

    models, threads, output = snakemake.params.models, snakemake.threads, snakemake.output
    subset = models[0]["subset"]
    paths = subsets.image_paths(subsets.read(Path(subset)))
    images = [read_image(path) for path in subsets.evenly_spread(paths, 16)]
    detectors = {model["path"]: load_for_speed(Path(model["path"]), threads) for model in models}
    measured = speed.measure(detectors, images)
    cpu = ov.Core().get_property("CPU", "FULL_DEVICE_NAME").strip()
    conditions = f"{len(images)} images of `{subset}`, {cpu}, {threads} threads"
    comparison.write(
        comparison.table(models, measured), Path(output.csv), Path(output.md), conditions
    )
    log.info("Compared %d models with %s", len(models), conditions)
