"""Sizes of anchors, fitted to the boxes of a dataset."""

from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans

from detmake.errors import InputError


def fit(sizes: np.ndarray, counts: Sequence[int]) -> list[list[list[float]]]:
    """Anchor sizes by k-means of box sizes, the smallest ones for the first level.

    Clustered are the logarithms: a box's deltas from its anchor are ratios, not differences.

    Args:
        sizes: (N, 2) float, widths and heights of boxes, in pixels of the network's input.
        counts: anchors per cell of each level, from the finest level to the coarsest.

    Returns:
        For each level its anchors' [width, height] in pixels, by ascending area.

    Raises:
        InputError: there are fewer different boxes than anchors.
    """
    different = len(np.unique(sizes, axis=0))
    if different < sum(counts):
        raise InputError(
            f"The train subset: found boxes of {different} different sizes, expected at least "
            f"{sum(counts)}, one for each anchor of the template. Annotate more objects, or "
            "choose a template without fitted anchors."
        )
    clusters = KMeans(sum(counts), n_init=10, random_state=0).fit(np.log(sizes))
    anchors = np.exp(clusters.cluster_centers_)
    anchors = anchors[anchors.prod(axis=1).argsort()].round(2)
    return [level.tolist() for level in np.split(anchors, np.cumsum(counts)[:-1])]
