"""What a detector is, and what it finds in an image."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

#: Detections of one image that are kept, by descending score: COCO's limit.
MAX_DETECTIONS = 100


@dataclass(frozen=True)
class Detections:
    """What a detector found in one image.

    Attributes:
        boxes: (N, 4) float, xyxy in pixels of the image.
        scores: (N,) float in [0, 1], confidence.
        labels: (N,) int, index of the class.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


class Detector(Protocol):
    """A snapshot, an IR or a deployed model, ready to run.

    Code that wraps a detector is written against this class, so it serves all of them.

    Attributes:
        labels: class names.
        confidence_threshold: the best one on the validation subset, in [0, 1].
    """

    labels: Sequence[str]
    confidence_threshold: float

    def __call__(self, image: np.ndarray) -> Detections:
        """Detect in one image.

        Args:
            image: (H, W, 3) uint8, BGR, any size.

        Returns:
            Detections in pixels of the image, by descending score, those with low scores included.
        """
        ...

    def stream(self, images: Iterable[np.ndarray]) -> Iterator[Detections]:
        """Detect in many images, by the fastest way the detector has; keeps their order."""
        ...
