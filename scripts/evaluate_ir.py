"""Evaluate an exported model with OpenVINO."""

from pathlib import Path

from detmake import logs
from detmake.artifacts import staged_files, write_json
from detmake.data import subsets
from detmake.evaluation import performance, predictions
from detmake.runtime.figures import subject
from detmake.runtime.inference import OpenvinoDetector

with logs.job(snakemake.log[0]) as log:
    source = snakemake.input
    model, subset = [Path(source.xml), Path(source.bin)], Path(source.subset)
    device = snakemake.params.inference["device"]
    detector = OpenvinoDetector(model[0].parent, snakemake.threads, "THROUGHPUT", device)
    coco, postprocessing = subsets.read(subset), snakemake.params.postprocessing
    figures, found = performance.evaluate(detector, coco, postprocessing, "IR")
    if detector.quantization:
        figures["quantization"] = detector.quantization
    with staged_files([Path(file) for file in snakemake.output]) as scratch:
        predictions.write(scratch / "predictions.json", found)
        figures |= subject(model, subset, scratch / "predictions.json", detector.device)
        write_json(scratch / "performance.json", figures)
    log.info(performance.in_words(str(model[0].parent), figures))
