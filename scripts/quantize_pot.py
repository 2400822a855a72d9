"""Quantize an exported model to int8 after training."""

from pathlib import Path

from detmake import logs
from detmake.data import subsets
from detmake.quantization import post_training

with logs.job(snakemake.log[0]) as log:
    parameters = post_training.Parameters(**snakemake.params.pot_parameters)
    images = subsets.evenly_spread(
        subsets.image_paths(subsets.read(Path(snakemake.input.train))),
        parameters.stat_subset_size,
    )
    log.info("Quantizing with %d images, preset %s", len(images), parameters.preset)
    folder = Path(snakemake.output.xml).parent
    post_training.quantize_folder(
        Path(snakemake.input.xml).parent,
        images,
        subsets.read(Path(snakemake.input.val)),
        parameters,
        folder,
        snakemake.params.inference["device"],
    )
