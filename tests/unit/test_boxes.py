"""Augmentations give the same with detmake's boxes as with MMDetection's."""

import numpy as np
import pytest
import torch

from detmake.model import network  # noqa: F401  lets MMDetection import
from detmake.training.boxes import BOX_TYPE, QuickBoxes
from detmake.training.random_numbers import drawn_for

from mmcv.transforms import Compose  # isort: skip
from mmdet.structures.bbox import HorizontalBoxes  # isort: skip


def random_boxes(rng, count):
    """Boxes (N, 4), float32 xyxy; every fifth has no area."""
    corners = rng.uniform(0, 100, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(1, 60, (count, 2))], axis=1)
    boxes[::5, 2:] = boxes[::5, :2]
    return torch.from_numpy(boxes.astype(np.float32))


@pytest.mark.parametrize("counts", [(1, 14), (3, 2), (1, 0), (0, 4)])
def test_overlaps_are_those_of_mmdetection(counts):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        first, second = (random_boxes(rng, count) for count in counts)
        expected = HorizontalBoxes.overlaps(HorizontalBoxes(first), HorizontalBoxes(second))
        found = QuickBoxes.overlaps(HorizontalBoxes(first), QuickBoxes(second))
        assert found.dtype == torch.float32
        assert torch.equal(found, expected)


@pytest.mark.parametrize(("mode", "is_aligned"), [("iof", False), ("iou", True)])
def test_other_overlaps_are_those_of_mmdetection(mode, is_aligned):
    first, second = (random_boxes(np.random.default_rng(seed), 6) for seed in (0, 1))
    expected = HorizontalBoxes.overlaps(
        HorizontalBoxes(first), HorizontalBoxes(second), mode, is_aligned
    )
    found = QuickBoxes.overlaps(HorizontalBoxes(first), QuickBoxes(second), mode, is_aligned)
    assert torch.equal(found, expected)


def test_boxes_convert_to_those_of_mmdetection():
    boxes = random_boxes(np.random.default_rng(0), 4)
    converted = QuickBoxes(boxes).convert_to("hbox")
    assert type(converted) is HorizontalBoxes
    assert torch.equal(converted.tensor, boxes)


def test_augmented_samples_are_those_with_boxes_of_mmdetection():
    image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    instances = [
        {"bbox": box, "bbox_label": 0, "ignore_flag": 0}
        for box in ([10, 10, 60, 50], [70, 20, 150, 110], [5, 60, 65, 115])
    ]

    def sample(box_type, seed):
        pipeline = Compose(
            [
                {"type": "LoadImageFromNDArray"},
                {"type": "LoadAnnotations", "with_bbox": True, "box_type": box_type},
                {"type": "MinIoURandomCrop"},
                {"type": "RandomFlip", "prob": 0.5},
                {"type": "Resize", "scale": (96, 64), "keep_ratio": False},
                {"type": "PackDetInputs", "meta_keys": ()},
            ]
        )
        with drawn_for("test", seed):
            packed = pipeline({"img": image, "instances": instances})
        return packed["inputs"], packed["data_samples"].gt_instances.bboxes.tensor

    boxes = set()
    for seed in range(30):
        ours, theirs = sample(BOX_TYPE, seed), sample("hbox", seed)
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])
        boxes.add(str(ours[1]))
    assert len(boxes) > 10, "the augmentations do nothing"
