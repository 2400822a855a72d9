"""Compare the models of all runs."""

from pathlib import Path

import openvino as ov

from detmake import comparison, dataset, device, inference, latency, logs

with logs.job(snakemake.log[0]) as log:
    device.use("cpu")
    models, threads, output = snakemake.params.models, snakemake.threads, snakemake.output
    subset = models[0]["subset"]
    paths = dataset.image_paths(dataset.read(Path(subset)))
    images = [inference.read_image(path) for path in dataset.evenly_spread(paths, 16)]
    speed = latency.measure(
        {model["path"]: latency.load(Path(model["path"]), threads) for model in models},
        images,
    )
    cpu = ov.Core().get_property("CPU", "FULL_DEVICE_NAME").strip()
    conditions = f"{len(images)} images of `{subset}`, {cpu}, {threads} threads"
    comparison.write(comparison.table(models, speed), Path(output.csv), Path(output.md), conditions)
    log.info("Compared %d models with %s", len(models), conditions)
