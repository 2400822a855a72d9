"""Run the demo on the images, video or camera of the configuration."""

from pathlib import Path

from detmake import logs
from detmake.data import subsets
from detmake.runtime import demo, media
from detmake.runtime.inference import OpenvinoDetector

with logs.job(snakemake.log[0]) as log:
    source, ids = snakemake.params.source, None
    if source is None:
        coco = subsets.read(Path(snakemake.input.subset))
        files = subsets.image_paths(coco)
        ids = dict(zip(files, (image["id"] for image in coco["images"]), strict=True))
        opened = media.Images(files)
    else:
        opened = media.open_source(source, snakemake.params.seconds)
    folder, device = Path(snakemake.input.xml).parent, snakemake.params.inference["device"]
    detector = OpenvinoDetector(folder, snakemake.threads, "THROUGHPUT", device)
    outcome = demo.run(
        detector, opened, Path(snakemake.output[0]), detector.confidence_threshold, ids
    )
    for line in outcome.skipped:
        log.warning("Skipped: %s", line)
    log.info(
        "%d frames, %d skipped, %.1f frames/s",
        outcome.frames,
        len(outcome.skipped),
        outcome.images_per_second,
    )
