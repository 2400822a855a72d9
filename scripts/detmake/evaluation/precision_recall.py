"""COCO's average precision of one class, from counts."""

import numpy as np

#: Recalls at which precision is averaged, as in pycocotools.
RECALLS = np.linspace(0, 1, 101)


def average_precision(hits: np.ndarray, detections: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """Return the average precision of rankings.

    Args:
        hits: (..., P) int, true positives down to each of P places of the ranking: at least
            those places where a true positive is, from the highest score to the lowest.
        detections: (..., P) int, detections down to each of these places.
        truths: (...) int, ground truths.

    Returns:
        (...) float in [0, 1]; nan without ground truths.
    """
    hits, detections, truths = map(np.asarray, (hits, detections, truths))
    places = hits.shape[-1]
    rows = hits.reshape(truths.size, places)
    precision = rows / np.maximum(detections.reshape(rows.shape), 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    envelope = np.pad(envelope, ((0, 0), (0, 1)))  # 0 where a recall is never reached
    # One search for all rows: hits of row i lie between i·step and (i + 1)·step.
    counts = truths.reshape(-1)
    step = counts.max(initial=0) + 2
    offsets = np.arange(len(rows))[:, np.newaxis] * step
    needed = np.ceil(RECALLS * counts[:, np.newaxis] - 1e-9)
    places_found = np.searchsorted((rows + offsets).ravel(), (needed + offsets).ravel())
    places_found = places_found.reshape(needed.shape) - np.arange(len(rows))[:, np.newaxis] * places
    aps = np.take_along_axis(envelope, places_found, axis=1).mean(axis=1)
    return np.where(counts > 0, aps, np.nan).reshape(truths.shape)
