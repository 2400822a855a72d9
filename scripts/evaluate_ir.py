"""Evaluate an exported model with OpenVINO."""

from pathlib import Path

from tqdm import tqdm

from detmake import dataset, evaluation, inference, logs
from detmake.artifacts import write_json

with logs.job(snakemake.log[0]):
    detector = inference.Detector(Path(snakemake.input.xml).parent, snakemake.threads)
    coco = dataset.read(Path(snakemake.input.subset))
    images = tqdm(dataset.image_paths(coco), desc="IR", unit="image", mininterval=2)
    performance = evaluation.evaluate(
        coco,
        inference.predict(detector, images),
        snakemake.params.postprocessing,
        detector.confidence_threshold,
    )
    if detector.quantization:
        performance["quantization"] = detector.quantization
    write_json(Path(snakemake.output[0]), performance)
