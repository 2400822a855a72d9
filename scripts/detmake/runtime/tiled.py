"""Detection in tiles: cut an image, detect in each part, and merge what is found."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice

import numpy as np

from detmake.detections import Detections
from detmake.tiling import Tiling, Window

#: Detections kept of an image that is cut, those with the highest scores: as many as the
#: evaluation of AI-TOD takes, a dataset of tiny objects (Wang et al., ICPR 2021).
MAX_MERGED = 1500
#: Overlap above which two boxes are one object: the usual threshold of merging tiles (SAHI's).
_SAME = 0.5
#: A box that ends at most this share of a tile's side away from its border counts as cut by it.
_NEAR = 0.01


def detect(
    detector: Callable[[np.ndarray], Detections], image: np.ndarray, tiling: Tiling | None
) -> Detections:
    """Detect in one image, (H, W, 3) uint8, BGR, with a function that detects in one part of it.

    Args:
        detector: detects in an image as it is.
        image: the image.
        tiling: how to cut it; None leaves it whole.

    Returns:
        Detections in pixels of the image, by descending score.
    """
    return next(stream(partial(map, detector), [image], tiling))


def stream(
    detector: Callable[[Iterable[np.ndarray]], Iterator[Detections]],
    images: Iterable[np.ndarray],
    tiling: Tiling | None,
) -> Iterator[Detections]:
    """Detect in a stream of images, with the `stream` of a detector for images as they are.

    Arguments and results are otherwise those of `detect`.
    """
    if tiling is None:
        yield from detector(images)
        return
    cut: deque[tuple[tuple[int, int], list[Window]]] = deque()  # images that wait for results

    def parts() -> Iterator[np.ndarray]:
        for image in images:
            height, width = image.shape[:2]
            windows = tiling.windows(width, height)
            cut.append(((width, height), windows))
            for left, top, right, bottom in windows:
                yield image[top:bottom, left:right]

    results = detector(parts())
    for first in results:
        size, windows = cut.popleft()
        yield merge([first, *islice(results, len(windows) - 1)], windows, size, tiling)


def merge(
    found: Sequence[Detections], windows: Sequence[Window], size: tuple[int, int], tiling: Tiling
) -> Detections:
    """Merge the detections in the parts of one image.

    - A box counts as cut if it ends at a border of its tile that is no border of the image.
    - Boxes of the same class and of different parts compete; a part's own went through the model's
      non-maximum suppression. They take turns by descending score, for which that of a cut box
      counts half. A box loses against an earlier one if their IoU is at least 0.5. A cut box also
      loses if at least half of it lies in an earlier one.
    - Of the whole image, only boxes larger than the overlap count: all others are whole in some
      tile, which shows them larger.

    Args:
        found: detections in each part, in pixels of the part.
        windows: the parts, from `Tiling.windows`.
        size: width and height of the image in pixels.
        tiling: how it was cut.

    Returns:
        At most `MAX_MERGED` detections, in pixels of the image, by descending score.
    """
    if len(windows) == 1:
        return found[0]
    width, height = size
    whole = (0, 0, width, height)
    near = _NEAR * np.array([*tiling.size, *tiling.size])
    parts, is_cut, origins = [], [], []
    for number, (one, window) in enumerate(zip(found, windows, strict=True)):
        boxes = one.boxes + np.float32([*window[:2], *window[:2]])
        scores, labels = one.scores, one.labels
        if window == whole:
            large = (boxes[:, 2:] - boxes[:, :2] > tiling.common).any(axis=1)
            boxes, scores, labels = boxes[large], scores[large], labels[large]
        inner = np.not_equal(window, whole)
        parts.append((boxes, scores, labels))
        is_cut.append((inner & (np.abs(boxes - np.array(window)) <= near)).any(axis=1))
        origins.append(np.full(len(boxes), number))
    boxes, scores, labels = map(np.concatenate, zip(*parts, strict=True))
    cut, origins = np.concatenate(is_cut), np.concatenate(origins)
    # An object may be in four tiles and the whole image.
    turns = np.argsort(-np.where(cut, scores / 2, scores), kind="stable")[: 5 * MAX_MERGED]
    kept = turns[_winners(boxes[turns], labels[turns], cut[turns], origins[turns])]
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    return Detections(boxes[kept], scores[kept], labels[kept])


def _winners(
    boxes: np.ndarray, labels: np.ndarray, is_cut: np.ndarray, origins: np.ndarray
) -> np.ndarray:
    """Return the positions of the first `MAX_MERGED` boxes that lose against none before them."""
    low, high = boxes[:, :2], boxes[:, 2:]
    areas = np.maximum((high - low).prod(axis=1), np.finfo(np.float32).tiny)
    remaining, winners = np.arange(len(boxes)), []
    while len(remaining) and len(winners) < MAX_MERGED:
        first, others = remaining[0], remaining[1:]
        winners.append(first)
        sides = np.minimum(high[others], high[first]) - np.maximum(low[others], low[first])
        shared = np.maximum(sides, 0).prod(axis=1)
        iou = shared / (areas[others] + areas[first] - shared)
        same = np.where(is_cut[others], np.maximum(iou, shared / areas[others]), iou) >= _SAME
        loses = same & (labels[others] == labels[first]) & (origins[others] != origins[first])
        remaining = others[~loses]
    return np.array(winners, dtype=int)
