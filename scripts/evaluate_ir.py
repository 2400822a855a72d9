"""Evaluate an exported model with OpenVINO."""

from pathlib import Path

from detmake import logs
from detmake.artifacts import write_json
from detmake.data import subsets
from detmake.evaluation import performance
from detmake.runtime.figures import subject
from detmake.runtime.inference import OpenvinoDetector

with logs.job(snakemake.log[0]):
    source = snakemake.input
    model, subset = [Path(source.xml), Path(source.bin)], Path(source.subset)
    detector = OpenvinoDetector(model[0].parent, snakemake.threads, "THROUGHPUT")
    coco, postprocessing = subsets.read(subset), snakemake.params.postprocessing
    figures = performance.evaluate(detector, coco, postprocessing, "IR")
    if detector.quantization:
        figures["quantization"] = detector.quantization
    write_json(Path(snakemake.output[0]), figures | subject(model, subset, "cpu"))
