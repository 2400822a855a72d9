"""Measure a delivered model again, and compare it with what the build measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detmake.data import checking
from detmake.data.annotated import Source
from detmake.detections import Detector
from detmake.errors import InputError
from detmake.evaluation.performance import evaluate

#: Metrics that are compared, by their keys in `performance.json`.
METRICS = {"f-measure": "F-measure", "mAP50": "mAP at IoU 0.5", "mAP": "mAP"}
#: What else is read of a `performance.json`.
_READ = ("confidence_threshold", "images", "ground_truths")
#: The largest drop of a metric that passes: the default budget of the quantizers.
TOLERANCE = 0.01


def check_figures(performance: Mapping[str, Any], file: Path) -> None:
    """Check that a model can be compared with what the build measured.

    Args:
        performance: what the build measured.
        file: the `performance.json` that it was read from.

    Raises:
        InputError: a figure is missing, or is no number.
    """
    wrong = [key for key in (*METRICS, *_READ) if not isinstance(performance.get(key), int | float)]
    if wrong:
        raise InputError(
            f"{file}: expected the build's figures, found no number for {', '.join(wrong)}. "
            "Unpack the archive again, or copy the model folder again."
        )


def measure(
    detector: Detector, annotations: Path, images: Path, performance: Mapping[str, Any]
) -> dict[str, Any]:
    """Measure a detector as the build does, at the confidence threshold of the build's figures.

    Args:
        detector: the detector.
        annotations: a COCO file. Its categories are those of the detector, by name.
        images: the folder that its file names count from.
        performance: what the build measured (`check_figures`).

    Returns:
        What `evaluation.performance.evaluate` measures.

    Raises:
        InputError: as `data.checking.prepare` does.
    """
    coco = checking.prepare(Source("coco", annotations, images), detector.labels)
    postprocessing = {
        "result_based_confidence_threshold": False,
        "confidence_threshold": performance["confidence_threshold"],
    }
    return evaluate(detector, coco, postprocessing, "Verifying")[0]


def are_comparable(measured: Mapping[str, Any], performance: Mapping[str, Any]) -> bool:
    """Tell whether figures measured here are of the images and boxes that the build had."""
    return all(measured[key] == performance.get(key) for key in ("images_sha256", "ground_truths"))


def compare(
    measured: Mapping[str, Any], performance: Mapping[str, Any]
) -> tuple[list[str], str | None]:
    """Compare what was measured here with what the build measured.

    Args:
        measured: what `measure` returned.
        performance: what the build measured (`check_figures`).

    Returns:
        A table as lines of text, and what is wrong: None if no metric is lower than the build's by
        more than `TOLERANCE`, or if the two are not comparable (`are_comparable`).
    """
    lines = [f"{'':16} {'build':>7} {'here':>7} {'change':>7}"]
    for key, name in METRICS.items():
        here, build = measured[key], performance[key]
        lines.append(f"{name:16} {build:7.3f} {here:7.3f} {here - build:+7.3f}")
    if not are_comparable(measured, performance):
        of_build, here = (
            f"{one['images']} images with {one['ground_truths']} boxes"
            for one in (performance, measured)
        )
        lines.append(f"Not judged: the build had other images or boxes ({of_build}; here, {here}).")
        return lines, None
    worst = min(METRICS, key=lambda key: measured[key] - performance[key])
    drop = performance[worst] - measured[worst]
    if drop <= TOLERANCE:
        return lines, None
    return lines, f"{METRICS[worst]} is {drop:.3f} lower than where the model was built."
