"""The noise of a difference of F-measure: how much it depends on which images are evaluated."""

import numpy as np

from detmake.evaluation.metrics import Evaluation

RESAMPLES = 1000
CONFIDENCE = 0.95


def drop_interval(original: Evaluation, other: Evaluation) -> tuple[float, float]:
    """Return the 95 % interval of the drop of the best F-measure from one model to another.

    A paired percentile bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
    chapter 13): both models are measured on the same images, drawn with replacement. Matches stay;
    each model's best confidence threshold is found anew.

    Args:
        original: the first model's evaluation.
        other: the other's, on the same subset.

    Returns:
        The ends of the interval of F-measure(original) - F-measure(other), each in [-1, 1]. The
        same evaluations give the same interval.
    """
    # As float64, which is exact for counts: NumPy multiplies matrices of integers slowly.
    both = [evaluation.image_counts().astype(float) for evaluation in (original, other)]
    images = both[0].shape[1]
    rng = np.random.default_rng(0)
    drops = []
    for _ in range(RESAMPLES):
        times = np.bincount(rng.integers(images, size=images), minlength=images)
        first, second = (_best_f_measure(times @ counts) for counts in both)
        drops.append(first - second)
    low, high = np.quantile(drops, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _best_f_measure(counts: np.ndarray) -> float:
    """Return the best F-measure of (3, T) true positives, detections and ground truths."""
    hits, detections, truths = counts
    total = detections + truths
    return float(np.max(2 * hits / np.maximum(total, 1)))
