"""Cut the train subset into tiles."""

import os
from pathlib import Path

from detmake import logs
from detmake.artifacts import staged_files, write_json
from detmake.data import subsets, tiles

with logs.job(snakemake.log[0]):
    images, subset = (Path(snakemake.output[key]) for key in ("images", "subset"))
    input_size = snakemake.params.input_size
    coco = subsets.read(Path(snakemake.input.train))
    tiling = tiles.tiling_of(coco, input_size, **snakemake.params.tiling)
    with staged_files([images, subset]) as scratch:
        # Beside the subset, unless that is in object storage.
        place = os.path.relpath(images, subset.parent)
        cut = tiles.cut(coco, tiling, input_size, scratch / images.name, place)
        write_json(scratch / subset.name, cut)
