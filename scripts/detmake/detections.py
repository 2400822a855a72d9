"""What a detector finds in an image."""

from dataclasses import dataclass

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
