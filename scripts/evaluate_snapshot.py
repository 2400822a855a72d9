"""Evaluate a snapshot with MMDetection."""

from pathlib import Path

from detmake import logs
from detmake.artifacts import write_json
from detmake.data import subsets
from detmake.evaluation import performance
from detmake.model import device

with logs.job(snakemake.log[0]):
    device.use(snakemake.resources.device)

    import torch

    from detmake.model.snapshot import Snapshot, predict

    torch.set_num_threads(snakemake.threads)
    snapshot = Snapshot.load(Path(snakemake.input.weights))
    coco = subsets.read(Path(snakemake.input.subset))
    figures = performance.evaluate(
        coco,
        predict(snapshot.detector(), snapshot.input_size, subsets.image_paths(coco)),
        snakemake.params.postprocessing,
        snapshot.confidence_threshold,
    )
    write_json(Path(snakemake.output[0]), figures)
