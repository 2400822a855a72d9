"""The detector of a snapshot, by MMDetection's own prediction."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from torch import nn

from detmake.detections import MAX_DETECTIONS, Detections
from detmake.model.snapshot import Snapshot
from detmake.runtime import tiled
from detmake.tiling import Tiling

_BATCH_SIZE = 8


class SnapshotDetector:
    """The `Detector` of a snapshot, on the GPU if there is one."""

    def __init__(self, snapshot: Snapshot) -> None:
        init_default_scope("mmdet")
        self.labels = list(snapshot.labels)
        self.confidence_threshold = snapshot.confidence_threshold
        self.tiling = Tiling.described(snapshot.tiling)
        self._detector = snapshot.detector()
        transforms = test_pipeline(snapshot.input_size)[1:]
        self._pipeline = Compose([{"type": "LoadImageFromNDArray"}, *transforms])

    def __call__(self, image: np.ndarray) -> Detections:
        """Detect in one image, (H, W, 3) uint8, BGR, any size."""
        return next(self.stream([image]))

    def stream(self, images: Iterable[np.ndarray]) -> Iterator[Detections]:
        """Detect in a stream of images, in batches."""
        return tiled.stream(self._stream, images, self.tiling)

    def _stream(self, images: Iterable[np.ndarray]) -> Iterator[Detections]:
        """Detect in images as they are."""
        packed = (self._pipeline({"img": image, "img_id": 0}) for image in images)
        while batch := list(islice(packed, _BATCH_SIZE)):
            yield from _detect(self._detector, batch)


def test_pipeline(input_size: Sequence[int]) -> list[dict[str, Any]]:
    """Return the MMDetection transforms from an image file to a detector's input.

    Args:
        input_size: width and height in pixels; the aspect ratio is not kept.
    """
    return [
        {"type": "LoadImageFromFile"},
        {"type": "Resize", "scale": tuple(input_size), "keep_ratio": False},
        {
            "type": "PackDetInputs",
            "meta_keys": ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
        },
    ]


@torch.inference_mode()
def _detect(detector: nn.Module, batch: Sequence[Mapping[str, Any]]) -> list[Detections]:
    samples = detector.test_step(pseudo_collate(batch))
    return [as_exported(sample.pred_instances, sample.ori_shape) for sample in samples]


def as_exported(predicted: Mapping[str, torch.Tensor], shape: Sequence[int]) -> Detections:
    """Return what MMDetection predicts for an image as an exported model would.

    MMDetection's YOLOX neither clips boxes to the image nor limits their number.

    Args:
        predicted: `bboxes` (N, 4) float, xyxy in pixels, `scores` (N,) and `labels` (N,), by
            descending score.
        shape: height and width of the image in pixels.
    """
    kept = (predicted[key][:MAX_DETECTIONS] for key in ("bboxes", "scores", "labels"))
    boxes, scores, labels = (part.cpu().numpy() for part in kept)
    height, width = shape
    return Detections(boxes.clip(0, [width, height, width, height]), scores, labels)
