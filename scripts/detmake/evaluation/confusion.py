"""The confusion matrix of a detector."""

from collections.abc import Iterable

import numpy as np

from detmake.evaluation.overlaps import MATCHED, Overlaps, match


def confusion_matrix(images: Iterable[Overlaps], classes: int) -> np.ndarray:
    """Count which class was found where which class is annotated.

    True positives come first, so the diagonal holds those of `performance.json`. Detections and
    annotations that are left over match across classes, at the same IoU.

    Args:
        images: overlaps at the confidence threshold.
        classes: number K of the classes.

    Returns:
        (K + 1, K + 1) int: rows are annotated classes, columns are found ones. The last of each is
        the background: its row holds detections of nothing, its column missed annotations.
    """
    matrix = np.zeros((classes + 1, classes + 1), dtype=int)
    for image in images:
        hits = image.matches >= 0
        np.add.at(matrix, (image.labels[image.matches[hits]], image.found.labels[hits]), 1)
        wrong, left = np.flatnonzero(~hits), np.flatnonzero(~image.is_found)
        iou = image.iou[np.ix_(wrong, left)]
        matches = match(iou, np.ones(iou.shape, dtype=bool), MATCHED)
        annotated = np.append(image.labels[left], classes)  # -1 is the background
        np.add.at(matrix, (annotated[matches], image.found.labels[wrong]), 1)
        missed = np.setdiff1d(np.arange(len(left)), matches)
        np.add.at(matrix, (image.labels[left[missed]], classes), 1)
    return matrix
