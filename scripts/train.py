"""Train a detector."""

import os
import shutil
from pathlib import Path

if snakemake.resources.device == "cpu":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

import torch

from detmake import logs, training
from detmake.artifacts import write_confidence_threshold, write_label_schema, write_text

checkpoints = Path(snakemake.resources.checkpoints)
with logs.job(snakemake.log[0]):
    torch.set_num_threads(snakemake.threads)
    result = training.train(
        dict(snakemake.params.items()),
        Path(snakemake.input.train),
        Path(snakemake.input.val),
        checkpoints,
        num_workers=snakemake.resources.num_workers,
    )
    snapshot, output = result.snapshot, snakemake.output
    write_label_schema(Path(output.label_schema), snapshot.labels)
    write_confidence_threshold(Path(output.confidence_threshold), snapshot.confidence_threshold)
    write_text(Path(output.scalars), result.scalars.to_csv(index=False))
    write_text(Path(output.per_class), result.evaluation.per_class().to_csv())
    snapshot.save(Path(output.weights))
    shutil.rmtree(checkpoints)
