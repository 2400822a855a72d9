"""Evaluate an exported model with OpenVINO."""

from pathlib import Path

from detmake import logs
from detmake.artifacts import write_json
from detmake.data import subsets
from detmake.evaluation import performance
from detmake.runtime.inference import OpenvinoDetector

with logs.job(snakemake.log[0]):
    detector = OpenvinoDetector(Path(snakemake.input.xml).parent, snakemake.threads)
    figures = performance.evaluate(
        detector,
        subsets.read(Path(snakemake.input.subset)),
        snakemake.params.postprocessing,
        "IR",
    )
    if detector.quantization:
        figures["quantization"] = detector.quantization
    write_json(Path(snakemake.output[0]), figures)
