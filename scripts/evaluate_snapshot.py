"""Evaluate a snapshot with MMDetection."""

from pathlib import Path

from detmake import dataset, device, evaluation, logs
from detmake.artifacts import write_json

with logs.job(snakemake.log[0]):
    device.use(snakemake.resources.device)

    import torch

    from detmake.snapshot import Snapshot, predict

    torch.set_num_threads(snakemake.threads)
    snapshot = Snapshot.load(Path(snakemake.input.weights))
    coco = dataset.read(Path(snakemake.input.subset))
    performance = evaluation.evaluate(
        coco,
        predict(snapshot.detector(), snapshot.input_size, dataset.image_paths(coco)),
        snakemake.params.postprocessing,
        snapshot.confidence_threshold,
    )
    write_json(Path(snakemake.output[0]), performance)
