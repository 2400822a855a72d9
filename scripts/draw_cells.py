"""Draw one subset of the embedded cells dataset."""

from pathlib import Path

from detmake import logs
from detmake.data import cells, image_digests

with logs.job(snakemake.log[0]):
    annotations = Path(snakemake.output.annotations)
    cells.write_subset(annotations.parent, snakemake.wildcards.subset)
    image_digests.record_generated(annotations)
