"""Evaluate a snapshot with MMDetection."""

import os
from pathlib import Path

if snakemake.resources.device == "cpu":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

import torch

from detmake import dataset, evaluation, logs
from detmake.artifacts import write_json
from detmake.snapshot import Snapshot, predict

with logs.job(snakemake.log[0]):
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
