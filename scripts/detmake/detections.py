"""Detectors and detections: the interface that everything else is written against."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from detmake.tiling import Tiling

#: Number of detections kept per image, those with the highest scores: COCO's limit. More are kept
#: of an image that is cut into tiles.
MAX_DETECTIONS = 100


@dataclass(frozen=True)
class Detections:
    """Objects found in one image.

    Attributes:
        boxes: (N, 4) float, xyxy in pixels of the image.
        scores: (N,) float in [0, 1], confidence.
        labels: (N,) int, index into the class names.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    @classmethod
    def none(cls) -> "Detections":
        """Return the detections of an image in which nothing was found."""
        return cls(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))

    def select(self, rows: np.ndarray) -> "Detections":
        """Return some of the detections: (M,) int indices, or (N,) bool."""
        return Detections(self.boxes[rows], self.scores[rows], self.labels[rows])

    def coco_results(self, image_id: int) -> list[dict[str, Any]]:
        """Return COCO's results format: boxes are xywh; class k has category id k + 1."""
        corners, sizes = self.boxes[:, :2], self.boxes[:, 2:] - self.boxes[:, :2]
        columns = (np.hstack([corners, sizes]), self.scores, self.labels)
        return [
            {"image_id": image_id, "category_id": label + 1, "bbox": box, "score": score}
            for box, score, label in zip(*(column.tolist() for column in columns), strict=True)
        ]


class Detector(Protocol):
    """A snapshot, an IR or a deployed model, ready to run.

    Whatever wraps a detector is written against this class, so that it works with all of them.

    Attributes:
        labels: class names.
        confidence_threshold: the best one on the validation subset, in [0, 1].
        tiling: how it cuts images; None: it looks at them as a whole.
    """

    labels: Sequence[str]
    confidence_threshold: float
    tiling: Tiling | None

    def __call__(self, image: np.ndarray) -> Detections:
        """Detect in one image.

        Args:
            image: (H, W, 3) uint8, BGR, any size.

        Returns:
            Detections in pixels of the image, by descending score, including those with low scores.
        """
        ...

    def stream(self, images: Iterable[np.ndarray]) -> Iterator[Detections]:
        """Detect in many images as fast as the detector can; keep the order of the images."""
        ...
