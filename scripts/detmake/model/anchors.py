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
