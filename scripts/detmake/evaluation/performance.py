"""Evaluation of a model on a prepared subset: from its detections to `performance.json`."""

import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

from detmake.detections import Detections
from detmake.evaluation.metrics import Evaluation

log = logging.getLogger("detmake")


def evaluate(
    coco: Mapping[str, Any],
    predictions: Iterator[Detections],
    postprocessing: Mapping[str, Any],
    validated_threshold: float,
) -> dict[str, Any]:
    """Measure a model's detections on a subset.

    Args:
        coco: a prepared subset (`detmake.data.checking`).
        predictions: detections of its images, in its order, computed while they are drawn.
        postprocessing: `confidence_threshold` (the one to use), or
            `result_based_confidence_threshold` (take the one with the highest F-measure here).
        validated_threshold: the confidence threshold that was chosen on the validation subset.

    Returns:
        The content of `performance.json`. Figures are at IoU 0.5 and in [0, 1], except `mAP`
        (IoU 0.5 to 0.95) and counts.
    """
    started = time.perf_counter()
    ids = [image["id"] for image in coco["images"]]
    evaluation = Evaluation(coco, dict(zip(ids, predictions, strict=True)))
    seconds = time.perf_counter() - started

    if postprocessing["result_based_confidence_threshold"]:
        threshold = evaluation.best_confidence_threshold()
    else:
        threshold = postprocessing["confidence_threshold"]
    counts = evaluation.counts(threshold)
    per_class = evaluation.per_class(threshold)
    log.info("Detections at IoU 0.5:\n%s", evaluation.table())
    log.info("F-measure after evaluation: %.4f at confidence %g", counts.f_measure, threshold)
    return {
        **counts.as_dict(),
        "confidence_threshold": threshold,
        "at_validated_threshold": {
            **evaluation.counts(validated_threshold).as_dict(),
            "confidence_threshold": validated_threshold,
        },
        "mAP50": evaluation.average_precision(0.5),
        "mAP": evaluation.average_precision(),
        "per_class": per_class.astype(object).where(per_class.notna(), None).to_dict("index"),
        "ground_truths": counts.ground_truths,
        "detections": counts.detections,
        "images": len(ids),
        "images_per_second": round(len(ids) / seconds, 1),
        "annotations": coco["info"]["annotation_file"],
    }
