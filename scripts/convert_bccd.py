"""Write one subset of BCCD, with COCO annotations, from its archive."""

from pathlib import Path

from detmake import bccd, data_source, logs

with logs.job(snakemake.log[0]):
    folder = Path(snakemake.output.annotations).parent
    bccd.write_subset(
        Path(snakemake.input.archive),
        Path(snakemake.input.manifest),
        snakemake.wildcards.subset,
        folder,
    )
    data_source.record_pristine(folder)
