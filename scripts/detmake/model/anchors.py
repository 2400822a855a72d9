"""Anchor sizes, fitted to the boxes of a dataset."""

from collections.abc import Sequence

import numpy as np

from detmake.errors import InputError


def fit(sizes: np.ndarray, counts: Sequence[int]) -> list[list[list[float]]]:
    """Fit anchor sizes by k-means of box sizes, with the smallest ones on the first level.

    It clusters logarithms, because a box's deltas from its anchor are ratios, not differences.

    Args:
        sizes: (N, 2) float, box widths and heights in pixels of the network's input.
        counts: anchors per cell for each level, from the finest level to the coarsest.

    Returns:
        For each level, its anchors' [width, height] in pixels by ascending area.

    Raises:
        InputError: there are fewer different box sizes than anchors.
    """
    different = len(np.unique(sizes, axis=0))
    if different < sum(counts):
        raise InputError(
            f"Train subset: found boxes of {different} different sizes, expected at least "
            f"{sum(counts)}, one for each anchor of the template. Annotate more objects or "
            "choose a template without fitted anchors."
        )
    from sklearn.cluster import KMeans  # takes half a second to load, and few networks need it

    clusters = KMeans(sum(counts), n_init=10, random_state=0).fit(np.log(sizes))
    anchors = np.exp(clusters.cluster_centers_)
    anchors = anchors[anchors.prod(axis=1).argsort()].round(2)
    return [level.tolist() for level in np.split(anchors, np.cumsum(counts)[:-1])]


def fit_scale(sizes: np.ndarray, stride: int, lowest: float, highest: float) -> float:
    """Fit the scale of square anchors, one per cell, whose side is the scale times the stride.

    The finest level gets anchors as large as the smaller boxes: the 10th percentile of the square
    roots of their areas. From level to level, sides double.

    Args:
        sizes: (N, 2) float, box widths and heights in pixels of the network's input.
        stride: the finest level's, in pixels.
        lowest: the smallest scale. Boxes that are 1/√2 to √2 times as large as an anchor belong to
            its level. The smallest of them hold the centers of lowest²/2 cells. ATSS can use as
            many as its `topk` of them, but none outside a box.
        highest: the largest scale.

    Returns:
        The scale, rounded to two decimals.
    """
    side = np.percentile(np.sqrt(sizes.prod(axis=1)), 10)
    return round(float(np.clip(side / stride, lowest, highest)), 2)
