"""The detector of a snapshot, by MMDetection's own prediction."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from torch import nn

from detmake.detections import Detections
from detmake.model.snapshot import Snapshot


class SnapshotDetector:
    """The `Detector` of a snapshot, on the GPU if there is one."""

    def __init__(self, snapshot: Snapshot) -> None:
        init_default_scope("mmdet")
        self.labels = list(snapshot.labels)
        self.confidence_threshold = snapshot.confidence_threshold
        self._detector = snapshot.detector()
        transforms = test_pipeline(snapshot.input_size)[1:]
        self._pipeline = Compose([{"type": "LoadImageFromNDArray"}, *transforms])

    def __call__(self, image: np.ndarray) -> Detections:
        """Detect in one image, (H, W, 3) uint8, BGR, any size."""
        return _detect(self._detector, self._pipeline({"img": image, "img_id": 0}))

    def stream(self, images: Iterable[np.ndarray]) -> Iterator[Detections]:
        """Detect in one image after the other."""
        return map(self, images)


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
def _detect(detector: nn.Module, packed: Mapping[str, Any]) -> Detections:
    sample = detector.test_step(pseudo_collate([packed]))[0]
    found, (height, width) = sample.pred_instances.cpu().numpy(), sample.ori_shape
    boxes = found.bboxes.clip(0, [width, height, width, height])  # YOLOX does not clip
    return Detections(boxes, found.scores, found.labels)
