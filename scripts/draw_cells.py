"""Draw one subset of an embedded dataset: cells or slides."""

from pathlib import Path

from detmake import logs
from detmake.data import cells, image_digests, slides

with logs.job(snakemake.log[0]):
    annotations, wildcards = Path(snakemake.output.annotations), snakemake.wildcards
    drawn = {"cells": cells, "slides": slides}[wildcards.drawn]
    drawn.write_subset(annotations.parent, wildcards.subset)
    image_digests.record_generated(annotations)
