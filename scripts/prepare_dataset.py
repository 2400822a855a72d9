"""Check one subset of the user's data and write it in the form that all later steps trust."""

from pathlib import Path

from detmake import dataset, logs
from detmake.artifacts import write_json

with logs.job(snakemake.log[0]) as log:
    train = snakemake.input.get("train")
    classes = dataset.class_names(dataset.read(Path(train))) if train else None
    if snakemake.params.stand_in:
        log.warning("`data` names no test subset: val serves as test")
    coco = dataset.prepare(
        Path(snakemake.input.annotations), Path(snakemake.params.image_root), classes
    )
    write_json(Path(snakemake.output[0]), coco)
