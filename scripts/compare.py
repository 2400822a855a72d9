"""Compare the models of all runs."""

from pathlib import Path

from detmake import logs
from detmake.evaluation import speed
from detmake.model import device
from detmake.report import comparison

with logs.job(snakemake.log[0]) as log:
    device.use("cpu")

    from detmake.model.loader import load_for_speed

    models, threads, output = snakemake.params.models, snakemake.threads, snakemake.output
    subset, used = Path(models[0]["subset"]), snakemake.params.inference_device
    images = speed.read_images(speed.choose_images(subset))
    detectors = {
        model["path"]: load_for_speed(Path(model["path"]), threads, used) for model in models
    }
    table = comparison.table(models, speed.measure(detectors, images))
    conditions = f"{len(images)} images of `{subset}`, {speed.machine_name(threads, used)}"
    files = {name: Path(file) for name, file in output.items()}
    comparison.write(table, files, conditions, comparison.warnings(models))
    log.info("Compared %d models with %s", len(models), conditions)
