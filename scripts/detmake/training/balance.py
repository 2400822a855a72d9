"""How often training takes an image, so that it sees rare classes more often."""

import math
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

#: Classes on a smaller share of the images are rare. For LVIS, with 1,203 classes, it is 0.001.
THRESHOLD = 0.5


def repeat_factors(classes: Sequence[Collection[int]]) -> np.ndarray:
    """Return how often training takes each image, relative to one without rare classes.

    The factor of a class is max(1, √(threshold / share of the images that show it)), and that of
    an image is its classes' largest: repeat-factor sampling, Gupta, Dollár, Girshick: LVIS, 2019,
    arXiv 1908.03195.

    Args:
        classes: the classes of each image's annotations; none for a background image.

    Returns:
        (N,) float, at least 1.
    """
    images = Counter(label for each in classes for label in set(each))
    factors = {
        label: max(1.0, math.sqrt(THRESHOLD * len(classes) / count))
        for label, count in images.items()
    }
    return np.array([max((factors[label] for label in each), default=1.0) for each in classes])


def take(factors: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draw as many images as there are, each as often as its factor asks for.

    An image is taken ⌊e⌋ or ⌈e⌉ times, where e is the number to be expected: systematic sampling,
    which leaves less to chance than independent draws.

    Args:
        factors: (N,) float, positive.
        random: what to draw with.

    Returns:
        (N,) int, indices of the images.
    """
    order = random.permutation(len(factors))
    ends = np.cumsum(factors[order])
    points = (np.arange(len(factors)) + random.random()) * ends[-1] / len(factors)
    return order[np.searchsorted(ends, points, side="right")]
