"""Compare the models of all runs."""

from pathlib import Path

import openvino as ov

from detmake import comparison, dataset, device, inference, latency, logs


def load(path: Path, threads: int) -> latency.Model:
    """A snapshot, or the model of a model folder, ready to be measured."""
    if path.is_dir():
        stream = inference.Detector(path, threads, "THROUGHPUT").stream
        return latency.Model(inference.Detector(path, threads), stream)

    import torch

    from detmake.snapshot import Predictor, Snapshot

    torch.set_num_threads(threads)
    return latency.Model(Predictor(Snapshot.load(path)))


with logs.job(snakemake.log[0]) as log:
    device.use("cpu")
    models, threads, output = snakemake.params.models, snakemake.threads, snakemake.output
    subset = models[0]["subset"]
    paths = dataset.image_paths(dataset.read(Path(subset)))
    images = [inference.read_image(path) for path in dataset.evenly_spread(paths, 16)]
    speed = latency.measure(
        {model["path"]: load(Path(model["path"]), threads) for model in models},
        images,
    )
    cpu = ov.Core().get_property("CPU", "FULL_DEVICE_NAME").strip()
    conditions = f"{len(images)} images of `{subset}`, {cpu}, {threads} threads"
    comparison.write(comparison.table(models, speed), Path(output.csv), Path(output.md), conditions)
    log.info("Compared %d models with %s", len(models), conditions)
