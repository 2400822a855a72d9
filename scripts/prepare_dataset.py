"""Check one subset of the user's data and write it in the form that all later steps use."""

from pathlib import Path

from detmake import logs
from detmake.artifacts import write_json
from detmake.data import checking, subsets
from detmake.data.annotated import Source

with logs.job(snakemake.log[0]) as log:
    train = snakemake.input.get("train")
    classes = subsets.class_names(subsets.read(Path(train))) if train else None
    if snakemake.params.stand_in:
        log.warning("`data` names no test subset: val serves as test")
    source = Source.from_parameter(snakemake.params.source)
    coco = checking.prepare(source, classes, snakemake.wildcards.split)
    write_json(Path(snakemake.output[0]), coco)
    counts = [len(coco[key]) for key in ("images", "annotations", "categories")]
    log.info("%s: %d images, %d boxes, classes: %d", snakemake.wildcards.split, *counts)
