"""Train a detector."""

import shutil
from pathlib import Path

from detmake import logs
from detmake.artifacts import write_confidence_threshold, write_label_schema, write_text
from detmake.data.download import verify_digest
from detmake.model import device
from detmake.training import lock

checkpoints = Path(snakemake.resources.checkpoints)

with logs.job(snakemake.log[0]), lock.held(checkpoints):
    device.use(snakemake.resources.device, snakemake.resources.processes)

    import torch

    from detmake.training.recipe import Recipe
    from detmake.training.train import train

    torch.set_num_threads(snakemake.threads)
    pretrained = snakemake.input.get("pretrained")
    if downloaded := snakemake.input.get("downloaded"):
        verify_digest(Path(downloaded))  # a user may have put the file there by hand
        pretrained = downloaded
    result = train(
        Recipe.from_params(dict(snakemake.params.items())),
        Path(snakemake.input.train),
        Path(snakemake.input.val),
        checkpoints,
        num_workers=snakemake.resources.num_workers,
        pretrained=pretrained and Path(pretrained),
        processes=snakemake.resources.processes,
    )
    snapshot, output = result.snapshot, snakemake.output
    write_label_schema(Path(output.label_schema), snapshot.labels)
    write_confidence_threshold(Path(output.confidence_threshold), snapshot.confidence_threshold)
    write_text(Path(output.scalars), result.scalars.to_csv(index=False))
    write_text(Path(output.per_class), result.evaluation.per_class().to_csv())
    snapshot.save(Path(output.weights))
    shutil.rmtree(checkpoints)
