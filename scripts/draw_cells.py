"""Draw one subset of the embedded cells dataset."""

from pathlib import Path

from detmake import logs
from detmake.data import cells, image_digests

with logs.job(snakemake.log[0]):
    folder = Path(snakemake.output.annotations).parent
    cells.write_subset(folder, snakemake.wildcards.subset)
    image_digests.record_generated(folder)
