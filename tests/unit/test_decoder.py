"""Decoders return the boxes and scores that MMDetection decodes."""

import math

import pytest
import template_files
import torch

from detmake.errors import InputError
from detmake.model.decoder import AnchorDecoder, build_decoder
from detmake.model.network import Core, build_detector, model_config

STRIDES = (8, 16, 32, 64, 128)  # of ATSS
CLASSES = 3
BATCH = 2
# Neither side of the last two is a multiple of ATSS's largest stride, 128.
SIZES = [(512, 256), (416, 320), (352, 480)]  # width, height
ANCHORS = [[[11, 17], [38, 24]], [[45, 90], [160, 60]]]
CODER = {
    "target_means": [0.05, -0.1, 0.3, -0.2],
    "target_stds": [0.3, 0.2, 0.5, 0.4],
}
WHOLE_NUMBERS = {"target_means": [0, 0, 0, 0], "target_stds": [1, 1, 1, 1]}
# Arguments of RTMDetSepBNHead that RTMDetHead does not know.
SEPARATE = ("share_conv", "norm_cfg", "pred_kernel_size", "exp_on_reg")

#: By name: a template, and changes to its head.
HEADS = {
    "ATSS": ("atss_mobilenetv2", {}),
    "ATSS, other coder": ("atss_mobilenetv2", {"bbox_coder": CODER}),
    "ATSS, whole numbers": ("atss_mobilenetv2", {"bbox_coder": WHOLE_NUMBERS}),
    "ATSS, three anchors per cell": (
        "atss_mobilenetv2",
        {"anchor_generator": {"ratios": [0.5, 1.0, 2.0]}},
    ),
    "SSD": ("ssd_mobilenetv2", {}),
    "SSD, other anchors and coder": (
        "ssd_mobilenetv2",
        {"anchor_generator": {"base_sizes": ANCHORS}, "bbox_coder": CODER},
    ),
    "SSD, anchors of SSD300": (
        "ssd_mobilenetv2",
        {
            "anchor_generator": {
                "type": "SSDAnchorGenerator",
                "scale_major": False,
                "ratios": [[2], [2, 3]],
                "min_sizes": [48, 100],
                "max_sizes": [100, 150],
                "base_sizes": None,
            }
        },
    ),
    "YOLOX": ("yolox_tiny", {}),
    "RTMDet": ("rtmdet_tiny", {}),
    "RTMDet, normalization shared": (
        "rtmdet_tiny",
        {"type": "RTMDetHead", **dict.fromkeys(SEPARATE)},
    ),
}


def build(name, changes=()):
    """Build a template's detector with changes to its head; None removes a key."""
    model = template_files.load(name)["model"]
    template_files.fit_anchors(model)
    update(model["bbox_head"], changes)
    return build_detector(model_config(model, CLASSES)).eval()


def update(config, changes):
    for key, value in dict(changes).items():
        if isinstance(value, dict):
            update(config[key], value)
        elif value is None:
            del config[key]
        else:
            config[key] = value


@pytest.fixture(params=template_files.HEADS)
def template_name(request):
    return request.param


@pytest.fixture(scope="module", params=HEADS)
def head(request):
    return build(*HEADS[request.param]).bbox_head


def random_maps(head, size):
    """Raw maps of a batch on all levels, with the value range of a trained head.

    Many boxes leave the image. Some deltas are so large that decoders limit the size of the box.
    """
    generator = torch.Generator().manual_seed(0)
    family = type(head).__name__
    width, height = size
    kinds = [[], []] if family.startswith(("SSD", "RTMDet")) else [[], [], []]
    for (stride, _), count in zip(
        head.prior_generator.strides, head.prior_generator.num_base_priors, strict=True
    ):
        h, w = math.ceil(height / stride), math.ceil(width / stride)
        channels = count * head.cls_out_channels
        logits = torch.stack(
            [torch.randperm(channels * h * w, generator=generator) for _ in range(BATCH)]
        )
        logits = 8 * logits.view(BATCH, channels, h, w) / (channels * h * w) - 4
        sides = torch.randn(BATCH, count * 4, h, w, generator=generator)
        if family == "YOLOXHead":  # offsets of the centre, logarithms of the size
            sides = sides * torch.tensor([2.0, 2, 1, 1]).view(4, 1, 1) + 1
        elif family.startswith("RTMDet"):  # distances in pixels, some of them negative
            sides = stride * (3 + 2 * sides)
        else:
            sides *= 3
            sides[torch.rand(sides.shape, generator=generator) < 0.05] *= 20
        quality = torch.randn(BATCH, count, h, w, generator=generator) * 2
        for kind, level in zip(kinds, (logits, sides, quality), strict=False):
            kind.append(level)
    return kinds


def decode_with_mmdetection(head, size, maps):
    """Boxes (N, A, 4) in pixels and scores (N, C, A) of all priors, by `predict_by_feat`.

    In the order of a decoder: level by level, the first prior of each cell, then the second.
    """
    everything = head.test_cfg.copy()
    everything.update(nms_pre=10**6, score_thr=-1, min_bbox_size=-1)
    results = head.predict_by_feat(
        *maps,
        batch_img_metas=[{"img_shape": size[::-1]}] * len(maps[0][0]),
        cfg=everything,
        with_nms=False,
    )
    arrange = by_best_class if type(head).__name__ == "YOLOXHead" else by_descending_score
    arranged = [arrange(head, result, maps[0], n) for n, result in enumerate(results)]
    boxes, scores = map(torch.stack, zip(*arranged, strict=True))
    if "min_bbox_size" in head.test_cfg:
        sizes = boxes[..., 2:] - boxes[..., :2]
        scores = scores * (sizes > head.test_cfg.min_bbox_size).all(dim=2)[:, None]
    return boxes, scores


def by_best_class(head, result, cls_scores, image):
    """Each prior has one result, in order; its other classes count as 0."""
    scores = torch.zeros(CLASSES, len(result.labels))
    scores[result.labels, torch.arange(len(result.labels))] = result.scores
    return result.bboxes, scores


def by_descending_score(head, result, cls_scores, image):
    """Each prior has a result for every class; each level sorts them by class score."""
    boxes, scores, first = [], [], 0
    for level, count in zip(cls_scores, head.prior_generator.num_base_priors, strict=True):
        logits = level[image].permute(1, 2, 0).reshape(-1, head.cls_out_channels)
        sorted_by = logits.sigmoid() if head.use_sigmoid_cls else logits.softmax(dim=1)[:, :CLASSES]
        order = sorted_by.flatten().sort(descending=True).indices
        rows = slice(first, first + len(order))
        first += len(order)
        prior, label = order // CLASSES, order % CLASSES
        assert torch.equal(result.labels[rows], label)
        level_boxes = torch.empty(len(logits), CLASSES, 4)
        level_boxes[prior, label] = result.bboxes[rows]
        assert torch.equal(level_boxes[:, 0], level_boxes[:, -1])
        level_scores = torch.empty(len(logits), CLASSES)
        level_scores[prior, label] = result.scores[rows]
        # MMDetection keeps the priors of a cell together.
        for values, level_values in ((boxes, level_boxes[:, 0]), (scores, level_scores)):
            values.append(level_values.unflatten(0, (-1, count)).transpose(0, 1).flatten(0, 1))
    assert first == len(result.scores)
    return torch.cat(boxes), torch.cat(scores).T


@pytest.mark.parametrize("size", SIZES)
@torch.inference_mode()
def test_random_maps_are_decoded_as_by_mmdetection(head, size):
    maps = random_maps(head, size)
    boxes, scores = build_decoder(head, size)(*maps)
    expected_boxes, expected_scores = decode_with_mmdetection(head, size, maps)

    count = sum(
        number * level[0, 0].numel()
        for number, level in zip(head.prior_generator.num_base_priors, maps[0], strict=True)
    )
    assert boxes.shape == (BATCH, count, 4)
    assert scores.shape == (BATCH, CLASSES, count)
    pixels = boxes * torch.tensor([*size, *size])
    torch.testing.assert_close(pixels, expected_boxes, rtol=1e-5, atol=0.02)
    torch.testing.assert_close(scores, expected_scores, rtol=1e-5, atol=1e-7)

    # The case covers boxes inside the image and boxes that leave it.
    inside = (expected_boxes > 0) & (expected_boxes < torch.tensor([*size, *size]))
    assert 0.02 < inside.all(dim=2).float().mean() < 0.98
    assert expected_scores.max() - expected_scores.min() > 0.8


@pytest.mark.parametrize("size", SIZES)
@torch.inference_mode()
def test_maps_of_the_network_are_decoded_as_by_mmdetection(template_name, size):
    """The decoder's priors match the network's in number and order for any size."""
    detector = build(template_name)
    images = torch.randn(1, 3, *size[::-1], generator=torch.Generator().manual_seed(0))
    maps = Core(detector)(images)
    boxes, scores = build_decoder(detector.bbox_head, size)(*maps)
    expected_boxes, expected_scores = decode_with_mmdetection(detector.bbox_head, size, maps)
    pixels = boxes * torch.tensor([*size, *size])
    torch.testing.assert_close(pixels, expected_boxes, rtol=0, atol=0.001)
    torch.testing.assert_close(scores, expected_scores, rtol=1e-5, atol=1e-7)


def test_an_anchor_is_decoded_as_by_hand():
    """The anchor in the second row and third column of stride 32 moves and grows."""
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
    boxes, scores = AnchorDecoder(build("atss_mobilenetv2").bbox_head, (width, height))(*maps)
    number = 52 * 40 + 26 * 20 + 1 * 13 + 2
    # Centre (64, 32), sides 8 × 32 = 256; clipped on the left and at the top.
    center_x = 64 + 25.6
    expected = [0, 0, (center_x + 128) / width, (32 + 256) / height]
    assert boxes[0, number].tolist() == pytest.approx(expected, abs=1e-6)
    assert scores[0, :, number].tolist() == pytest.approx([0.25, 0.375, 0.25])


def test_yolox_scores_only_the_best_class_of_a_point():
    """MMDetection keeps a point's best class only, so a second one cannot suppress boxes in NMS."""
    size = (64, 32)
    head = build("yolox_tiny").bbox_head
    maps = [[torch.zeros(1, c, 32 // s, 64 // s) for s in (8, 16, 32)] for c in (CLASSES, 4, 1)]
    maps[0][0][0, :, 1, 2] = torch.tensor([math.log(3), math.log(4), -math.log(3)])
    maps[1][0][0, :, 1, 2] = torch.tensor([0.5, 0.25, math.log(3), 0.0])
    maps[2][0][0, 0, 1, 2] = math.log(9)
    boxes, scores = build_decoder(head, size)(*maps)
    assert scores[0, :, 8 + 2].tolist() == pytest.approx([0, 0.8 * 0.9, 0])
    # Centre (2.5, 1.25) strides of 8 pixels, 3 strides wide and 1 high.
    assert boxes[0, 8 + 2].tolist() == pytest.approx([8 / 64, 6 / 32, 32 / 64, 14 / 32])


# Refusals


def test_a_head_of_another_family_is_refused():
    from mmdet.models.dense_heads import RetinaHead

    head = RetinaHead(num_classes=CLASSES, in_channels=8, feat_channels=8, stacked_convs=1)
    with pytest.raises(InputError, match=r"model\.bbox_head: .*RetinaHead") as error:
        build_decoder(head, (416, 320))
    for family in ("ATSSHead", "SSDHead", "YOLOXHead", "RTMDetHead", "RTMDetSepBNHead"):
        assert family in str(error.value)


def test_a_subclass_of_a_known_head_is_refused(template_name):
    head = build(template_name).bbox_head
    head.__class__ = type("DecodesOtherwise", (type(head),), {})
    with pytest.raises(InputError, match=r"model\.bbox_head: .*DecodesOtherwise"):
        build_decoder(head, (416, 320))


@pytest.mark.parametrize("template", ["atss_mobilenetv2", "ssd_mobilenetv2"])
def test_another_box_coder_is_refused(template):
    coder = {"type": "TBLRBBoxCoder", "normalizer": 4.0, "target_means": None, "target_stds": None}
    head = build(template, {"bbox_coder": coder}).bbox_head
    with pytest.raises(InputError, match=r"model\.bbox_head\.bbox_coder: found TBLRBBoxCoder"):
        build_decoder(head, (416, 320))


@pytest.mark.parametrize("template", ["atss_mobilenetv2", "ssd_mobilenetv2"])
@pytest.mark.parametrize("option, value", [("add_ctr_clamp", True), ("clip_border", False)])
def test_an_unsupported_option_of_the_box_coder_is_refused(template, option, value):
    head = build(template, {"bbox_coder": {option: value}}).bbox_head
    with pytest.raises(InputError, match=rf"model\.bbox_head\.bbox_coder: .*{option}"):
        build_decoder(head, (416, 320))
