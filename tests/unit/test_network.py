"""The network: a template's model completed for a dataset and a backbone, and its core."""

from copy import deepcopy

import numpy as np
import pytest
import template_files
import torch
import training_step
from mmdet.models.backbones.csp_darknet import Focus
from mmdet.registry import MODELS
from mmengine.structures import InstanceData

from detmake.errors import InputError
from detmake.model.network import Core, build_detector, model_config
from detmake.model.stem import merge_focus

CLASSES = 3
RESNET = {"type": "ResNet", "depth": 18}
TRANSFORMER = {
    "type": "PyramidVisionTransformerV2",
    "embed_dims": 32,
    "num_layers": [2, 2, 2, 2],
}
# Strides of the head's maps, and of the backbone's maps that they are made from.
SHIPPED_STRIDES = {
    "atss_mobilenetv2": ([8, 16, 32, 64, 128], [8, 16, 32]),
    "rtmdet_tiny": ([8, 16, 32], [8, 16, 32]),
    "ssd_mobilenetv2": ([16, 32], [16, 32]),
    "yolox_nano": ([8, 16, 32], [8, 16, 32]),
    "yolox_nano_relu": ([8, 16, 32], [8, 16, 32]),
    "yolox_tiny": ([8, 16, 32], [8, 16, 32]),
}
# Channels of the maps by stride, from the papers: ResNet-18 (He et al., table 1), PVT v2 B0/B1.
CHANNELS = {
    "ResNet": {4: 64, 8: 128, 16: 256, 32: 512},
    "PyramidVisionTransformerV2": {4: 32, 8: 64, 16: 160, 32: 256},
}
# Widths and heights of the boxes of a dataset, in pixels.
BOX_SIZES = np.exp(np.random.default_rng(0).normal(3.5, 0.6, (60, 2)))


@pytest.fixture(params=template_files.NAMES)
def template_name(request):
    return request.param


@pytest.fixture
def model(template_name):
    return template_files.load(template_name)["model"]


@pytest.fixture
def strides(template_name):
    """Strides of the head's and of the backbone's maps.

    For a template that detmake does not ship, they are measured on MMDetection's own network.
    """
    if template_name in SHIPPED_STRIDES:
        return SHIPPED_STRIDES[template_name]
    detector = MODELS.build(complete(template_files.load(template_name)["model"])).eval()
    images = torch.zeros(1, 3, 256, 256)
    with torch.inference_mode():
        maps = detector(images, mode="tensor")[0], detector.backbone(images)
    return tuple([256 // level.shape[-1] for level in levels] for levels in maps)


def test_the_shipped_templates_exist():
    assert SHIPPED_STRIDES.keys() <= set(template_files.NAMES)


def with_backbone(model, backbone, **options):
    return {**model, "backbone": {**backbone, **options}}


def complete(model):
    return model_config(model, CLASSES, BOX_SIZES)


def next_part(config):
    """The part that receives the backbone's maps: the neck, or the head if there is no neck."""
    return config.get("neck", config["bbox_head"])


# Completing a template's model


def test_the_number_of_classes_is_set(model):
    config = complete(model)
    assert config["bbox_head"]["num_classes"] == CLASSES
    maps = Core(build_detector(config).eval())(torch.zeros(1, 3, 64, 96))
    background = int(config["bbox_head"]["type"] == "SSDHead")
    counts = template_files.anchor_counts(model) or [1] * len(maps[0])
    assert [level.shape[1] for level in maps[0]] == [
        count * (CLASSES + background) for count in counts
    ]


def test_a_template_states_the_channels_of_its_backbone(model):
    """Templates state the right `in_channels`, although the library sets them."""
    config = complete(model)
    assert next_part(config)["in_channels"] == next_part(model)["in_channels"]
    assert {**config["backbone"], "norm_eval": None} == {**model["backbone"], "norm_eval": None}


def test_the_template_is_not_changed(model):
    model = with_backbone(model, RESNET)
    before = deepcopy(model)
    config = complete(model)
    assert config != before
    build_detector(config)
    assert model == before


def test_building_a_detector_does_not_change_its_model_config(model):
    config = complete(model)
    before = deepcopy(config)
    build_detector(config)
    assert config == before


def test_completing_a_complete_model_changes_nothing(model):
    config = complete(model)
    assert model_config(config, CLASSES) == config


# Another backbone


@pytest.fixture(params=[RESNET, TRANSFORMER], ids=lambda backbone: backbone["type"])
def backbone(request):
    return request.param


def loss_on_random_data(detector):
    """The sum of all losses of a batch, in training mode."""
    generator = torch.Generator().manual_seed(0)
    samples = []
    for count in (3, 1):
        corners = torch.rand(count, 2, generator=generator) * 50
        sizes = 20 + torch.rand(count, 2, generator=generator) * 25
        boxes = torch.cat([corners, corners + sizes], dim=1)
        samples.append(training_step.sample(boxes, torch.arange(count) % CLASSES))
    images = torch.randn(2, 3, 96, 128, generator=generator)
    losses = detector.train().loss(images, samples)
    return sum(
        part.sum()
        for value in losses.values()
        for part in (value if isinstance(value, list) else [value])
    )


def test_a_detector_with_another_backbone_can_be_trained(model, strides, backbone):
    head_strides, backbone_strides = strides
    config = complete(with_backbone(model, backbone))
    channels = CHANNELS[backbone["type"]]
    assert next_part(config)["in_channels"] == [channels[stride] for stride in backbone_strides]

    torch.manual_seed(0)
    detector = build_detector(config)
    maps = Core(detector.eval())(torch.zeros(1, 3, 256, 128))
    for kind in maps:
        assert [level.shape[2:] for level in kind] == [
            (256 // stride, 128 // stride) for stride in head_strides
        ]

    loss_on_random_data(detector).backward()
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert next(detector.backbone.parameters()).grad.abs().sum() > 0


def test_the_neck_follows_the_width_of_the_backbone():
    model = template_files.load("atss_mobilenetv2")["model"]
    model["backbone"]["widen_factor"] = 0.5
    # At half the width, MobileNetV2 has 16, 48 and 160 channels instead of 32, 96 and 320.
    assert complete(model)["neck"]["in_channels"] == [16, 48, 160]


def test_levels_set_in_the_model_are_used(model, strides):
    levels = [[4, 8, 16, 32].index(stride) for stride in strides[1]]
    config = complete(with_backbone(model, RESNET, out_indices=levels))
    assert config["backbone"]["out_indices"] == levels
    assert config == complete(with_backbone(model, RESNET))


@pytest.mark.parametrize("levels, found", [([0, 1, 2], "[4, 8, 16]"), ([3], "[32]")])
def test_levels_of_other_strides_are_refused(model, strides, levels, found):
    with pytest.raises(InputError, match=r"^model\.backbone: ResNet ") as error:
        complete(with_backbone(model, RESNET, out_indices=levels))
    assert f"strides {found}, expected {strides[1]}" in str(error.value)
    assert "out_indices" in str(error.value)


def test_an_extra_level_set_in_the_model_is_refused(model):
    with pytest.raises(InputError, match=r"strides \[4, 8, 16, 32\], expected "):
        complete(with_backbone(model, RESNET, out_indices=[0, 1, 2, 3]))


def test_a_backbone_without_the_strides_of_the_head_is_refused(model, strides):
    """Three stages of ResNet give no map of stride 32."""
    backbone = {**RESNET, "num_stages": 3, "strides": [1, 2, 2], "dilations": [1, 1, 1]}
    backbone["out_indices"] = [0, 1, 2]
    with pytest.raises(InputError, match=r"strides \[4, 8, 16\], expected") as error:
        complete(with_backbone(model, backbone))
    assert str(strides[1]) in str(error.value)


def hrnet():
    """A backbone that always returns all its maps: it has no `out_indices`."""
    stages = {
        f"stage{number}": {
            "num_modules": 1,
            "num_branches": number,
            "block": "BASIC" if number > 1 else "BOTTLENECK",
            "num_blocks": [1] * number,
            "num_channels": [8, 16, 32, 64][:number],
        }
        for number in (1, 2, 3, 4)
    }
    return {"type": "HRNet", "extra": stages}


def test_a_backbone_without_out_indices_is_refused():
    model = template_files.load("atss_mobilenetv2")["model"]
    with pytest.raises(InputError, match=r"HRNet gives maps of strides \[4, 8, 16, 32\]"):
        complete(with_backbone(model, hrnet()))


def test_an_unknown_backbone_is_refused(model):
    with pytest.raises(InputError, match=r"^model\.backbone\.type: found ResNot, expected "):
        complete(with_backbone(model, {"type": "ResNot"}))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"bbox_head": {"type": "ATSSHed"}}, "model.bbox_head: cannot be built: KeyError"),
        ({"neck": {"type": "FPM", "in_channels": [1, 2, 3]}}, "model: cannot be built: KeyError"),
        ({"type": "ATTS"}, "model: cannot be built: KeyError"),
    ],
)
def test_other_mistakes_in_a_model_are_named(change, problem):
    model = template_files.load("atss_mobilenetv2")["model"]
    changed = model | change
    with pytest.raises(InputError, match=f"^{problem}"):
        build_detector(model_config(changed, 3))


def test_a_model_without_a_head_is_refused():
    model = template_files.load("atss_mobilenetv2")["model"]
    del model["bbox_head"]
    with pytest.raises(InputError, match=r"^model: found type, .* expected a `bbox_head`"):
        model_config(model, 3)


@pytest.mark.parametrize(
    "options, cause",
    [
        ({"depth": 19}, "invalid depth 19"),
        ({"dept": 18}, "dept"),
        ({"out_indices": [4]}, "ResNet"),
    ],
)
def test_unknown_options_of_the_backbone_are_refused(model, options, cause):
    with pytest.raises(InputError, match=r"^model\.backbone: ResNet cannot be built") as error:
        complete(with_backbone(model, RESNET, **options))
    assert cause in str(error.value)
    assert "'depth': " in str(error.value)


# Batch normalization


@pytest.mark.parametrize(
    "backbone",
    [
        RESNET,
        {"type": "ResNetV1d", "depth": 18},
        {"type": "ResNeXt", "depth": 50, "groups": 4, "base_width": 4},
    ],
    ids=lambda backbone: backbone["type"],
)
def test_batch_normalization_of_a_backbone_is_trained(backbone):
    """MMDetection freezes the statistics of ResNet, which only suits pretrained weights."""
    model = template_files.load("atss_mobilenetv2")["model"]
    detector = build_detector(complete(with_backbone(model, backbone))).train()
    assert all(module.training for module in detector.backbone.modules())


def test_norm_eval_freezes_batch_normalization():
    model = template_files.load("atss_mobilenetv2")["model"]
    detector = build_detector(complete(with_backbone(model, RESNET, norm_eval=True))).train()
    norms = [
        module for module in detector.backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)
    ]
    assert norms
    assert not any(norm.training for norm in norms)


# Anchors


def test_anchors_are_fitted_to_the_boxes():
    model = template_files.load("ssd_mobilenetv2")["model"]
    fitted = complete(model)["bbox_head"]["anchor_generator"]["base_sizes"]
    assert [len(level) for level in fitted] == [5, 5]
    low, high = np.quantile(BOX_SIZES, [0.02, 0.98])
    assert all(low < side < high for level in fitted for anchor in level for side in anchor)


def test_the_scale_of_anchors_is_fitted_to_the_boxes():
    """A tenth of the boxes is at most 40 pixels wide and high, which are 5 finest strides."""
    model = template_files.load("atss_mobilenetv2")["model"]
    boxes = np.array([[20, 20], [40, 40], *[[90, 70]] * 9], float)
    config = model_config(model, CLASSES, boxes)
    assert config["bbox_head"]["anchor_generator"]["octave_base_scale"] == 5
    (finest, *_) = build_detector(config).bbox_head.prior_generator.base_anchors
    assert (finest[:, 2:] - finest[:, :2]).tolist() == [[40, 40]]


def test_without_boxes_the_scale_of_anchors_is_mmdetections():
    """MMDetection's ATSS has 8, and so have its checkpoints."""
    config = model_config(template_files.load("atss_mobilenetv2")["model"], CLASSES)
    assert config["bbox_head"]["anchor_generator"]["octave_base_scale"] == 8


@pytest.mark.parametrize("limits", [[4], [8, 4], [0, 8], [4, 6, 8]])
def test_wrong_limits_of_the_scale_are_refused(limits):
    model = template_files.load("atss_mobilenetv2")["model"]
    model["bbox_head"]["anchor_generator"]["octave_base_scale"] = limits
    with pytest.raises(InputError) as error:
        complete(model)
    for part in ("anchor_generator.octave_base_scale: found", str(limits), "[lowest, highest]"):
        assert part in str(error.value)


@pytest.mark.parametrize("side", [9, 16, 40, 120, 256])
def test_boxes_of_every_size_get_positives(side):
    """Even if they are as small as a stride, or as large as the image."""
    width, height = 320, 256
    left = np.arange(0, width - side + 1, max(side, 37))  # boxes that do not overlap
    model = template_files.load("atss_mobilenetv2")["model"]
    head = build_detector(model_config(model, CLASSES, np.full((2, 2), side))).bbox_head
    top = np.full_like(left, (height - side) // 2)
    boxes = torch.tensor(np.stack([left, top, left + side, top + side], axis=1)).float()
    sizes = [(-(-height // y), -(-width // x)) for x, y in head.prior_generator.strides]
    levels = head.prior_generator.grid_priors(sizes, device="cpu")
    assigned = head.assigner.assign(
        InstanceData(priors=torch.cat(levels)),
        [len(level) for level in levels],
        InstanceData(bboxes=boxes, labels=torch.zeros(len(boxes)).long()),
    )
    counts = np.bincount(assigned.gt_inds, minlength=len(boxes) + 1)[1:]
    assert counts.min() >= 1
    if side > 2 * 8:  # it holds more than four cells of the finest level
        assert counts.mean() >= 3


def test_fitting_anchors_without_boxes_is_refused():
    model = template_files.load("ssd_mobilenetv2")["model"]
    with pytest.raises(InputError) as error:
        model_config(model, CLASSES)
    for part in ("model.bbox_head.anchor_generator.base_sizes: ", "[5, 5]", "[width, height]"):
        assert part in str(error.value)


def test_given_anchors_are_kept():
    model = template_files.load("ssd_mobilenetv2")["model"]
    sizes = [[[8.5, 9], [20, 10]], [[30, 60], [80, 70.25]]]
    model["bbox_head"]["anchor_generator"]["base_sizes"] = sizes
    for box_sizes in (None, BOX_SIZES):
        config = model_config(model, CLASSES, box_sizes)
        assert config["bbox_head"]["anchor_generator"]["base_sizes"] == sizes


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in template_files.NAMES
        if name != "atss_mobilenetv2"
        and not template_files.anchor_counts(template_files.load(name)["model"])
    ],
)
def test_templates_without_fitted_anchors_need_no_boxes(name):
    model = template_files.load(name)["model"]
    assert model_config(model, CLASSES) == complete(model)


# The core


def assert_close(maps, expected):
    # Maps of untrained networks with ReLU are large, and so are their rounding errors.
    rounding = 1e-5 * max(1, expected.abs().max().item())
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=rounding)


@torch.inference_mode()
def test_the_core_returns_the_raw_maps_that_mmdetection_decodes(model):
    torch.manual_seed(0)
    detector = build_detector(complete(model)).eval()
    images = torch.randn(2, 3, 64, 96)
    expected = MODELS.build(complete(model)).eval()  # MMDetection's own, not build_detector's
    expected.load_state_dict(detector.state_dict())
    expected = expected(images, mode="tensor")
    found = Core(detector)(images)
    assert len(found) == len(expected)
    for kind, expected_kind in zip(found, expected, strict=True):
        assert len(kind) == len(expected_kind)
        for level, expected_level in zip(kind, expected_kind, strict=True):
            assert_close(level, expected_level)


def test_the_core_keeps_all_weights_and_their_names(model):
    detector = build_detector(complete(model))
    assert list(Core(detector).state_dict()) == list(detector.state_dict())


@torch.inference_mode()
@pytest.mark.parametrize("name", ["yolox_nano_relu", "yolox_tiny"])
def test_a_focus_becomes_one_convolution_that_gives_the_same_maps(name):
    torch.manual_seed(0)
    core = Core(build_detector(complete(template_files.load(name)["model"]))).eval()
    images = torch.randn(2, 3, 64, 96)
    expected = core.backbone(images)
    names = list(core.state_dict())
    merge_focus(core)
    assert list(core.state_dict()) == names
    assert not any(isinstance(module, Focus) for module in core.modules())
    for level, expected_level in zip(core.backbone(images), expected, strict=True):
        assert_close(level, expected_level)


# What a network learns from


@pytest.mark.parametrize(("classes", "box"), [(80, (41, 41, 49, 49)), (1, (0, 0, 128, 96))])
@pytest.mark.parametrize("name", template_files.HEADS)
def test_one_gray_image_with_a_tiny_or_a_huge_box_teaches_something(name, classes, box):
    """Batch normalization has one image to normalize by."""
    detector = training_step.new_detector(name, classes).train()
    image = torch.full((1, 3, 96, 128), 0.2)
    left, top, right, bottom = box
    image[..., top:bottom, left:right] = 0.9
    sample = training_step.sample(torch.tensor([box]).float(), torch.tensor([classes - 1]))
    losses = detector(image, [sample], mode="loss")
    total, parts = detector.parse_losses(losses)
    total.backward()
    assert parts["loss_bbox"] > 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in detector.parameters())
    named = detector.bbox_head.named_parameters()
    boxes = [p.grad for key, p in named if "reg" in key and p.grad is not None]
    assert any(gradient.any() for gradient in boxes)
