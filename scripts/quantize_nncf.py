"""Quantize a snapshot by quantization-aware training and export it."""

import shutil
from pathlib import Path

from detmake import logs
from detmake.model import device
from detmake.training import lock

checkpoints = Path(snakemake.resources.checkpoints)

with logs.job(snakemake.log[0]) as log, lock.held(checkpoints):
    device.use(snakemake.resources.device)

    import torch

    from detmake.model import ir
    from detmake.training.quantization_aware import QuantizationAwareRecipe, train

    torch.set_num_threads(snakemake.threads)
    snapshot, description = train(
        Path(snakemake.input.weights),
        QuantizationAwareRecipe.from_params(dict(snakemake.params.items())),
        Path(snakemake.input.train),
        Path(snakemake.input.val),
        checkpoints,
        num_workers=snakemake.resources.num_workers,
    )
    weights = Path(snakemake.output.weights)
    snapshot.save(weights)
    ir.export(snapshot, weights.parent, description)
    log.info("Exported to %s", weights.parent)
    shutil.rmtree(checkpoints)
