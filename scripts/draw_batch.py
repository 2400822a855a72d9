"""Draw the first batch of a training, as the network sees it."""

from pathlib import Path

from detmake import logs
from detmake.artifacts import staged_files
from detmake.data import subsets
from detmake.runtime import drawing
from detmake.training.augmented_dataset import first_batch

IMAGES = 12  # at most, of a large batch

with logs.job(snakemake.log[0]) as log:
    source, params = Path(snakemake.input[0]), snakemake.params
    learning = params.learning
    batch = first_batch(
        *(source, params.pipeline, params.input_size, min(learning["batch_size"], IMAGES)),
        *(learning["seed"], learning["balance"], learning["augmentation"]),
    )
    labels = subsets.class_names(subsets.read(source))
    picture = drawing.contact_sheet(
        [
            drawing.tile(drawing.draw(image, annotated, labels, with_scores=False), name)
            for name, image, annotated in batch
        ]
    )
    output = Path(snakemake.output[0])
    with staged_files([output]) as scratch:
        (scratch / output.name).write_bytes(drawing.jpeg(picture))
    boxes = sum(len(annotated.labels) for _, _, annotated in batch)
    shown = len(batch), learning["batch_size"]
    log.info("First batch: %d of %d images, %d boxes in them", *shown, boxes)
