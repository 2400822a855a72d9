"""Check one subset of the user's data and write it in the form that all later steps use."""

from pathlib import Path

from detmake import logs
from detmake.artifacts import write_json
from detmake.data import checking, leaks, subsets
from detmake.data.annotated import Source

with logs.job(snakemake.log[0]) as log:
    others = {
        name: subsets.read(Path(snakemake.input[name]))
        for name in ("train", "val")
        if snakemake.input.get(name)
    }
    classes = subsets.class_names(others["train"]) if others else None
    if snakemake.params.stand_in:
        log.warning("`data` names no test subset: val serves as test")
    source = Source.from_parameter(snakemake.params.source)
    subset = snakemake.wildcards.split
    coco = checking.prepare(source, classes, subset)
    coco["info"]["remarks"] += leaks.check(coco, subset, others, snakemake.params.on_leak)
    write_json(Path(snakemake.output[0]), coco)
    counts = [len(coco[key]) for key in ("images", "annotations", "categories")]
    log.info("%s: %d images, %d boxes, classes: %d", snakemake.wildcards.split, *counts)
