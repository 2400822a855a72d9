"""Extract one subset of BCCD from its archive and convert its annotations to COCO."""

from pathlib import Path

from detmake import logs
from detmake.data import bccd, image_digests

with logs.job(snakemake.log[0]):
    annotations = Path(snakemake.output.annotations)
    bccd.write_subset(
        Path(snakemake.input.archive),
        Path(snakemake.params.manifest),
        snakemake.wildcards.subset,
        annotations.parent,
    )
    image_digests.record_generated(annotations)
