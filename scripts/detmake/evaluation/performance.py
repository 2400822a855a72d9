"""Evaluate a detector on a prepared subset: the content of `performance.json`."""

import logging
import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from detmake.detections import Detections, Detector
from detmake.evaluation.matching import evaluate_subset
from detmake.evaluation.metrics import Evaluation

log = logging.getLogger("detmake")


def evaluate(
    detector: Detector, coco: Mapping[str, Any], postprocessing: Mapping[str, Any], progress: str
) -> tuple[dict[str, Any], Mapping[int, Detections]]:
    """Evaluate a detector, from image files to the figures.

    Args:
        detector: the detector.
        coco: a prepared subset (`detmake.data.checking`).
        postprocessing: as for `figures`.
        progress: label of the progress bar.

    Returns:
        `figures`, `images_sha256` (a digest of the image files' digests), `images_per_second` and,
        if the detector cuts images, `tiling` (`Tiling.describe`); the detections by image id.
    """
    started = time.perf_counter()
    evaluation = evaluate_subset(detector, coco, progress)
    seconds = time.perf_counter() - started
    digests = sorted(image["sha256"] for image in coco["images"])
    measured = {
        **figures(evaluation, coco, postprocessing, detector.confidence_threshold),
        "images_sha256": sha256("".join(digests).encode()).hexdigest(),
        "images_per_second": round(len(coco["images"]) / seconds, 1),
        **({"tiling": detector.tiling.describe()} if detector.tiling else {}),
    }
    return measured, evaluation.detections


def figures(
    evaluation: Evaluation,
    coco: Mapping[str, Any],
    postprocessing: Mapping[str, Any],
    validated_threshold: float,
) -> dict[str, Any]:
    """Return the content of `performance.json`, except the speed.

    Args:
        evaluation: detections of the subset, matched.
        coco: the prepared subset.
        postprocessing: `confidence_threshold` (the one to use), or
            `result_based_confidence_threshold` (take the one with the best F-measure on it).
        validated_threshold: the confidence threshold chosen on the validation subset.

    Returns:
        Metrics in [0, 1] at IoU 0.5 (`mAP`: 0.5 to 0.95), and counts.
    """
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
        "images": len(coco["images"]),
        "annotations": coco["info"]["annotation_file"],
    }


def in_words(model: str, content: Mapping[str, Any], latency_ms: float | None = None) -> str:
    """Return the main figures of a model as one line for a log.

    Args:
        model: how to call it.
        content: content of its `performance.json`.
        latency_ms: time for one image, if it was measured.
    """
    words = [f"F-measure {content['f-measure']:.3f}", f"mAP50 {content['mAP50']:.3f}"]
    if quantization := content.get("quantization"):
        points = f"{-quantization['drop_points']:+z.1f}".replace("-", "−")
        words[1:] = [f"{points} points on validation"]
    if latency_ms is not None:
        words.append(f"{latency_ms:.1f} ms")
    return f"{model}: {', '.join(words)}"
