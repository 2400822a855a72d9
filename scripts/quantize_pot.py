"""Quantize an exported model to int8, after training."""

from pathlib import Path

from detmake import dataset, logs, quantization

with logs.job(snakemake.log[0]) as log:
    parameters = snakemake.params.pot_parameters
    images = dataset.evenly_spread(
        dataset.image_paths(dataset.read(Path(snakemake.input.train))),
        parameters["stat_subset_size"],
    )
    log.info("Quantizing with %d images, preset %s", len(images), parameters["preset"])
    folder = Path(snakemake.output.xml).parent
    quantization.quantize_folder(
        Path(snakemake.input.xml).parent,
        images,
        dataset.read(Path(snakemake.input.val)),
        parameters,
        folder,
    )
    log.info("Quantized to %s", folder)
