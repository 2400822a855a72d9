"""Measure a run's models, and what OpenVINO's benchmark_app gets from the same files."""

from pathlib import Path

import openvino as ov

from detmake import logs
from detmake.artifacts import write_text
from detmake.data import subsets
from detmake.evaluation import benchmark_app, speed
from detmake.model import device
from detmake.runtime.images import read_image

COLUMNS = {
    "latency_ms": "latency [ms]",
    "latency_p95_ms": "95th percentile [ms]",
    "images_per_second": "throughput [images/s]",
    "app_latency_ms": "benchmark_app: latency [ms]",
    "app_images_per_second": "benchmark_app: throughput [images/s]",
    "share": "throughput / benchmark_app's",
}

with logs.job(snakemake.log[0]) as log:
    device.use("cpu")

    from detmake.model.loader import load_for_speed

    threads, output = snakemake.threads, snakemake.output
    models = [Path(path) for path in snakemake.params.models]
    subset = snakemake.input.subset
    files = subsets.evenly_spread(subsets.image_paths(subsets.read(Path(subset))), 16)
    images = [read_image(path) for path in files]
    height, width = images[0].shape[:2]
    table = speed.measure({str(path): load_for_speed(path, threads) for path in models}, images)
    exported = [path for path in models if path.is_dir()]
    table = table.join(benchmark_app.measure(exported, (width, height), files[0], threads))
    table["share"] = table["images_per_second"] / table["app_images_per_second"]

    cpu = ov.Core().get_property("CPU", "FULL_DEVICE_NAME").strip()
    conditions = (
        f"{cpu}, {threads} threads, {len(images)} images of `{subset}`, decoded in memory; "
        f"benchmark_app on the first one, {width}×{height}"
    )
    readable = table[[*COLUMNS]].rename(columns=COLUMNS).rename_axis("model")
    readable = readable.astype(object).where(readable.notna(), None)
    text = readable.to_markdown(
        missingval="", floatfmt=("", ".1f", ".1f", ".1f", ".1f", ".1f", ".2f")
    )
    write_text(Path(output.csv), table.to_csv(float_format="%.6g"))
    write_text(Path(output.md), f"{text}\n\nMedians, models in turns, on {conditions}.\n")
    log.info("Measured %d models on %s\n%s", len(models), conditions, text)
