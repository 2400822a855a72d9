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

from detmake.detections import Detections
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
    found = []
    for sample in detector.test_step(pseudo_collate(batch)):
        instances, (height, width) = sample.pred_instances.cpu().numpy(), sample.ori_shape
        boxes = instances.bboxes.clip(0, [width, height, width, height])  # YOLOX does not clip
        found.append(Detections(boxes, instances.scores, instances.labels))
    return found
