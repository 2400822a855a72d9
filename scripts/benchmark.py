"""Measure the speed of a run's models, and compare it with OpenVINO's benchmark_app."""

from pathlib import Path

from detmake import logs
from detmake.evaluation import benchmark_app, speed
from detmake.model import device
from detmake.report import comparison

with logs.job(snakemake.log[0]) as log:
    device.use("cpu")

    from detmake.model.loader import load_for_speed

    threads, subset = snakemake.threads, Path(snakemake.input.subset)
    used = snakemake.params.inference_device
    models = {name: Path(path) for name, path in snakemake.params.models.items()}
    images = speed.read_images(speed.choose_images(subset))
    height, width = images[0].shape[:2]
    detectors = {name: load_for_speed(path, threads, used) for name, path in models.items()}
    table = speed.measure(detectors, images)
    exported = {str(path): name for name, path in models.items() if path.is_dir()}
    conditions = (
        f"{speed.machine_name(threads, used)}, {len(images)} images of `{subset}`, decoded in "
        f"memory; benchmark_app on the first one, {width}×{height}"
    )
    parts = 1
    if tiling := detectors["snapshot"][0].tiling:  # all models of a run have the same
        windows = tiling.windows(width, height)
        left, top, right, bottom = windows[0]
        width, height, parts = right - left, bottom - top, len(windows)
        conditions += f", taken for {parts} inferences of {width}×{height}, its tiles"
    folders = [Path(path) for path in exported]
    app = benchmark_app.measure(folders, (width, height), images[0], threads, used)
    app["app_latency_ms"] *= parts
    app["app_images_per_second"] /= parts
    table = table.join(app.rename(exported))
    output = snakemake.output
    text = comparison.write_benchmark(table, Path(output.csv), Path(output.md), conditions)
    log.info("Measured %d models on %s\n%s", len(models), conditions, text)
