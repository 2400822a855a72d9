"""Decoders against MMDetection's own decoding, box by box and score by score."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from detmake.decoder import AtssDecoder, build_decoder
from detmake.errors import InputError
from detmake.network import Core, build_detector, model_config

TEMPLATE = Path(__file__).parents[2] / "config/templates/atss_mobilenetv2.yaml"
STRIDES = (8, 16, 32, 64, 128)
CLASSES = 3
BATCH = 2
# Neither side of the last two is a multiple of the largest stride, 128.
SIZES = [(512, 256), (416, 320), (352, 480)]  # width, height

CODERS = {
    "template": {},
    "other": {
        "target_means": [0.05, -0.1, 0.3, -0.2],
        "target_stds": [0.3, 0.2, 0.5, 0.4],
    },
    "whole numbers": {"target_means": [0, 0, 0, 0], "target_stds": [1, 1, 1, 1]},
}


def config(**coder):
    model = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))["model"]
    model["bbox_head"]["bbox_coder"].update(coder)
    return model_config(model, CLASSES)


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return build_detector(config()).eval()


@pytest.fixture(scope="module", params=CODERS)
def head(request):
    """A head of the template's kind, with a coder of that name."""
    return build_detector(config(**CODERS[request.param])).bbox_head.eval()


def random_maps(size):
    """Raw maps of a batch, all levels, with logits of which no two are equal.

    Some deltas are so large that growth is limited, and many boxes leave the image.
    """
    generator = torch.Generator().manual_seed(0)
    width, height = size
    shapes = [(math.ceil(height / stride), math.ceil(width / stride)) for stride in STRIDES]
    cls_scores, bbox_preds, centernesses = [], [], []
    for h, w in shapes:
        count = CLASSES * h * w
        logits = torch.stack(
            [torch.randperm(count, generator=generator) / count for _ in range(BATCH)]
        )
        cls_scores.append((8 * logits - 4).view(BATCH, CLASSES, h, w))
        deltas = torch.randn(BATCH, 4, h, w, generator=generator) * 3
        deltas[torch.rand(deltas.shape, generator=generator) < 0.05] *= 20
        bbox_preds.append(deltas)
        centernesses.append(torch.randn(BATCH, 1, h, w, generator=generator) * 2)
    return cls_scores, bbox_preds, centernesses


def decode_with_mmdetection(head, size, maps):
    """Boxes (N, A, 4) in pixels and scores (N, C, A) of all anchors, by `predict_by_feat`."""
    width, height = size
    everything = head.test_cfg.copy()
    everything.update(nms_pre=10**6, score_thr=-1, min_bbox_size=-1)
    results = head.predict_by_feat(
        *maps,
        batch_img_metas=[{"img_shape": (height, width)}] * BATCH,
        cfg=everything,
        with_nms=False,
    )
    all_boxes, all_scores = [], []
    for image, result in enumerate(results):
        boxes, scores, first = [], [], 0
        for level in maps[0]:
            # A level comes out by descending class score, and each anchor with every class.
            logits = level[image].permute(1, 2, 0).flatten()
            order = logits.argsort(descending=True)
            rows = slice(first, first + len(order))
            anchor, label = order // CLASSES, order % CLASSES
            assert torch.equal(result.labels[rows], label)
            level_boxes = torch.empty(len(order) // CLASSES, CLASSES, 4)
            level_boxes[anchor, label] = result.bboxes[rows]
            assert torch.equal(level_boxes[:, 0], level_boxes[:, -1])
            boxes.append(level_boxes[:, 0])
            level_scores = torch.empty(CLASSES, len(order) // CLASSES)
            level_scores[label, anchor] = result.scores[rows]
            scores.append(level_scores)
            first += len(order)
        assert first == len(result.scores)
        all_boxes.append(torch.cat(boxes))
        all_scores.append(torch.cat(scores, dim=1))
    return torch.stack(all_boxes), torch.stack(all_scores)


@pytest.mark.parametrize("size", SIZES)
@torch.inference_mode()
def test_random_maps(head, size):
    maps = random_maps(size)
    boxes, scores = build_decoder(head, size)(*maps)
    expected_boxes, expected_scores = decode_with_mmdetection(head, size, maps)

    width, height = size
    assert boxes.shape == (BATCH, sum(level[0, 0].numel() for level in maps[0]), 4)
    pixels = boxes * torch.tensor([width, height, width, height])
    torch.testing.assert_close(pixels, expected_boxes, rtol=0, atol=0.02)
    torch.testing.assert_close(scores, expected_scores, rtol=1e-5, atol=1e-7)

    # What the case is to cover: boxes in the image and cut by it.
    inside = (expected_boxes > 0) & (expected_boxes < torch.tensor([width, height] * 2))
    assert 0.02 < inside.all(dim=2).float().mean() < 0.98


@pytest.mark.parametrize("size", SIZES)
@torch.inference_mode()
def test_maps_of_the_network_for_an_image(detector, size):
    """The decoder's anchors are as many as the network's cells, whatever the size."""
    width, height = size
    images = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    maps = Core(detector)(images)
    boxes, scores = build_decoder(detector.bbox_head, size)(*maps)

    head = detector.bbox_head
    anchors = torch.cat(
        head.prior_generator.grid_priors([level.shape[2:] for level in maps[0]], device="cpu")
    )
    deltas = torch.cat([level[0].permute(1, 2, 0).reshape(-1, 4) for level in maps[1]])
    expected = head.bbox_coder.decode(anchors, deltas, max_shape=(height, width))
    pixels = boxes[0] * torch.tensor([width, height, width, height])
    torch.testing.assert_close(pixels, expected, rtol=0, atol=0.001)

    logits = torch.cat([level[0].flatten(1) for level in maps[0]], dim=1).double().numpy()
    centerness = torch.cat([level[0].flatten(1) for level in maps[2]], dim=1).double().numpy()
    expected_scores = 1 / ((1 + np.exp(-logits)) * (1 + np.exp(-centerness)))
    np.testing.assert_allclose(scores[0], expected_scores, rtol=1e-5)


def test_an_anchor_by_hand(detector):
    """A cell of stride 32 in the second row and third column, moved and grown."""
    width, height = 416, 320
    maps = [
        [
            torch.zeros(1, channels, math.ceil(height / stride), math.ceil(width / stride))
            for stride in STRIDES
        ]
        for channels in (CLASSES, 4, 1)
    ]
    # Deviations 0.1 and 0.2: a tenth of the anchor's width to the right, twice as high.
    maps[1][2][0, :, 1, 2] = torch.tensor([1.0, 0.0, 0.0, math.log(2) / 0.2])
    maps[0][2][0, 1, 1, 2] = math.log(3)
    boxes, scores = AtssDecoder(detector.bbox_head, (width, height))(*maps)
    number = 52 * 40 + 26 * 20 + 1 * 13 + 2
    # Centre (64, 32), sides 8 × 32 = 256; clipped on the left and at the top.
    center_x = 64 + 25.6
    expected = [0, 0, (center_x + 128) / width, (32 + 256) / height]
    assert boxes[0, number].tolist() == pytest.approx(expected, abs=1e-6)
    assert scores[0, :, number].tolist() == pytest.approx([0.25, 0.375, 0.25])


# Refusals


def test_a_head_of_another_family_is_refused():
    from mmdet.models.dense_heads import RetinaHead

    head = RetinaHead(num_classes=CLASSES, in_channels=8, feat_channels=8, stacked_convs=1)
    with pytest.raises(InputError, match=r"model\.bbox_head: .*RetinaHead"):
        build_decoder(head, (416, 320))


def test_several_anchors_per_cell_are_refused():
    model = config()
    model["bbox_head"]["anchor_generator"]["ratios"] = [0.5, 1.0, 2.0]
    with pytest.raises(InputError, match="one anchor per cell"):
        build_decoder(build_detector(model).bbox_head, (416, 320))


def test_another_box_coder_is_refused():
    model = config()
    model["bbox_head"]["bbox_coder"] = {"type": "TBLRBBoxCoder", "normalizer": 4.0}
    with pytest.raises(InputError, match=r"model\.bbox_head"):
        build_decoder(build_detector(model).bbox_head, (416, 320))
