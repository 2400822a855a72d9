"""The noise of figures and of their differences: how much they depend on the evaluated images."""

import numpy as np
import pandas as pd

from detmake.evaluation.metrics import Evaluation
from detmake.evaluation.precision_recall import average_precision

RESAMPLES = 1000
CONFIDENCE = 0.95
#: Numbers that one step of the computation holds at most, to bound its memory.
_AT_ONCE = 4_000_000


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
        same evaluations give the same interval. One image says nothing about others: [-1, 1].
    """
    # As float64, which is exact for counts: NumPy multiplies matrices of integers slowly.
    both = [evaluation.image_counts().astype(float) for evaluation in (original, other)]
    images = both[0].shape[1]
    if images < 2:
        return -1.0, 1.0
    rng = np.random.default_rng(0)
    drops = []
    for _ in range(RESAMPLES):
        times = np.bincount(rng.integers(images, size=images), minlength=images)
        first, second = (_best_f_measure(times @ counts) for counts in both)
        drops.append(first - second)
    return interval(drops)


def interval(samples: np.ndarray | list[float] | pd.Series) -> tuple[float, float]:
    """Return the ends of the 95 % percentile interval of samples; nan is left out."""
    low, high = np.nanquantile(samples, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def resample(evaluation: Evaluation, threshold: float) -> pd.DataFrame:
    """Measure a model on images drawn with replacement. Matches and the threshold stay.

    The samples of two models on one subset draw the same images, so that their differences are
    those of a paired bootstrap.

    Args:
        evaluation: the model's evaluation.
        threshold: its confidence threshold, in [0, 1].

    Returns:
        A row for each of `RESAMPLES` samples: `f-measure`, `mAP50` and `mAP` in [0, 1]. A class
        without ground truths in a sample does not count there; nan if there are none at all.
    """
    outcomes = evaluation.outcomes()
    images, classes = outcomes.truths.shape
    rng = np.random.default_rng(0)
    draws = (rng.integers(images, size=images) for _ in range(RESAMPLES))
    times = np.array([np.bincount(draw, minlength=images) for draw in draws], dtype=np.int32)
    chosen = (outcomes.scores >= threshold) & outcomes.counted[0]
    found, hits = (
        np.bincount(outcomes.images[chosen & kind], minlength=images)
        for kind in (outcomes.counted[0], outcomes.hits[0])
    )
    total = times @ (found + outcomes.truths.sum(axis=1))
    aps = np.full((10, classes, RESAMPLES), np.nan)
    for label in range(classes):
        own = np.flatnonzero(outcomes.labels == label)
        own = own[np.argsort(-outcomes.scores[own], kind="stable")]
        truths = times @ outcomes.truths[:, label]
        step = max(1, _AT_ONCE // max(1, len(own)))
        for start in range(0, RESAMPLES, step):
            part = slice(start, start + step)
            weights = times[part][:, outcomes.images[own]]
            before = None
            for at in range(10):
                counted, hit = outcomes.counted[at, own], np.flatnonzero(outcomes.hits[at, own])
                if before is None or not np.array_equal(counted, before):
                    detections, before = np.cumsum(weights * counted, axis=1), counted
                aps[at, label, part] = average_precision(
                    np.cumsum(weights[:, hit], axis=1), detections[:, hit], truths[part]
                )
    known = np.count_nonzero(~np.isnan(aps[0]), axis=0)
    means = np.nansum(aps, axis=1) / np.where(known, known, np.nan)
    figures = {"f-measure": 2 * (times @ hits) / np.maximum(total, 1)}
    return pd.DataFrame({**figures, "mAP50": means[0], "mAP": means.mean(axis=0)})


def _best_f_measure(counts: np.ndarray) -> float:
    """Return the best F-measure of (3, T) true positives, detections and ground truths."""
    hits, detections, truths = counts
    total = detections + truths
    return float(np.max(2 * hits / np.maximum(total, 1)))
