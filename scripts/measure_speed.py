"""Measure the speed of a run's models."""

from pathlib import Path

from detmake import logs
from detmake.artifacts import sha256, write_text
from detmake.evaluation import speed
from detmake.model import device

with logs.job(snakemake.log[0]) as log:
    device.use("cpu")

    from detmake.model.loader import load_for_speed

    threads, subset = snakemake.threads, Path(snakemake.input.subset)
    used = snakemake.params.inference["device"]
    files = [Path(file) for file in snakemake.input if file.endswith((".pth", ".xml"))]
    models = [file.parent if file.suffix == ".xml" else file for file in files]
    images = speed.read_images(speed.choose_images(subset))
    detectors = {str(path): load_for_speed(path, threads, used) for path in models}
    table = speed.measure(detectors, images)
    weights = [file.with_suffix(".bin") if file.suffix == ".xml" else file for file in files]
    table["sha256"] = [sha256(file) for file in weights]
    write_text(Path(snakemake.output[0]), table.to_csv(float_format="%.6g"))
    for row in table.itertuples():
        log.info("%s: %.1f ms, %.1f images/s", row.Index, row.latency_ms, row.images_per_second)
    log.info("Measured on %s", speed.machine_name(threads, used))
