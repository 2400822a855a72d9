"""Evaluate an exported model with OpenVINO."""

from pathlib import Path

from tqdm import tqdm

from detmake import logs
from detmake.artifacts import write_json
from detmake.data import subsets
from detmake.evaluation import performance
from detmake.runtime import inference

with logs.job(snakemake.log[0]):
    detector = inference.Detector(Path(snakemake.input.xml).parent, snakemake.threads)
    coco = subsets.read(Path(snakemake.input.subset))
    images = tqdm(subsets.image_paths(coco), desc="IR", unit="image", mininterval=2)
    figures = performance.evaluate(
        coco,
        inference.predict(detector, images),
        snakemake.params.postprocessing,
        detector.confidence_threshold,
    )
    if detector.quantization:
        figures["quantization"] = detector.quantization
    write_json(Path(snakemake.output[0]), figures)
