"""The templates and the table of them, against what MMDetection itself has and publishes."""

import json
import shutil
from pathlib import Path

import mmdet
import mmengine
import numpy as np
import pytest
import template_files
import torch
import yaml
from mmengine.config import Config
from torch import nn

from detmake.model.network import MODELS, Core, build_detector, model_config
from detmake.model.template_table import table

CONFIGS = Path(mmdet.__file__).parent / ".mim/configs"
# MMDetection's configuration of the model whose published weights a template starts from.
PACKAGED = {
    "rtmdet_tiny": "rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
    "ssd_mobilenetv2": "ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py",
    "yolox_nano": "yolox/yolox_nano_8xb8-300e_coco.py",
    "yolox_tiny": "yolox/yolox_tiny_8xb8-300e_coco.py",
}
COCO_CLASSES = 80
BOX_SIZES = np.arange(1.0, 101).reshape(50, 2)


@pytest.fixture(params=template_files.NAMES)
def template_name(request):
    return request.param


@pytest.fixture(scope="module")
def detectors():
    """Each template's network for the classes of COCO, by the name of its file."""
    return {
        name: build_detector(
            model_config(template_files.load(name)["model"], COCO_CLASSES, BOX_SIZES)
        ).eval()
        for name in template_files.NAMES
    }


def packaged(name):
    return Config.fromfile(CONFIGS / PACKAGED[name]).model


def shapes(module):
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


# The table


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The rows of the table by the name of the template's file."""
    working_directory = tmp_path_factory.mktemp("project")
    folder = shutil.copytree(template_files.FOLDER, working_directory / "templates")
    paths = sorted(folder.glob("*.yaml"), reverse=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(working_directory)
        found = table(paths)
    assert list(found.columns) == [
        "id",
        "name",
        "backbone",
        "input size",
        "GFLOPs",
        "parameters",
        "path",
    ]
    assert list(found["path"]) == [f"templates/{path.name}" for path in paths]
    return {Path(row["path"]).stem: row for _, row in found.iterrows()}


SHIPPED = {
    "atss_mobilenetv2": (
        "Custom_Object_Detection_Gen3_ATSS",
        "ATSS-MobileNetV2",
        "MobileNetV2",
        "992×736",
    ),
    "rtmdet_tiny": (
        "Custom_Object_Detection_RTMDet_Tiny",
        "RTMDet-tiny",
        "CSPNeXt",
        "640×640",
    ),
    "ssd_mobilenetv2": (
        "Custom_Object_Detection_Gen3_SSD",
        "SSD-MobileNetV2",
        "MobileNetV2",
        "512×384",
    ),
    "yolox_nano": (
        "Custom_Object_Detection_YOLOX_Nano",
        "YOLOX-nano",
        "CSPDarknet",
        "416×416",
    ),
    "yolox_nano_relu": (
        "Custom_Object_Detection_YOLOX_Nano_ReLU",
        "YOLOX-nano-ReLU",
        "CSPDarknet",
        "416×416",
    ),
    "yolox_tiny": (
        "Custom_Object_Detection_YOLOX",
        "YOLOX-tiny",
        "CSPDarknet",
        "416×416",
    ),
}


def own_words(name):
    """What the row of a template repeats from its file."""
    template = template_files.load(name)
    backbone = template["model"]["backbone"]["type"]
    width, height = template["input_size"]
    return (*(template[key] for key in ("id", "name")), backbone, f"{width}×{height}")


def test_there_is_a_row_for_each_template(rows):
    assert {
        name: (row["id"], row["name"], row["backbone"], row["input size"])
        for name, row in rows.items()
    } == {name: own_words(name) for name in template_files.NAMES} | SHIPPED


@pytest.mark.parametrize(
    "name, gflops, parameters",
    [
        # https://github.com/open-mmlab/mmdetection/tree/main/configs/rtmdet gives 4.8 M and 8.1.
        ("rtmdet_tiny", "8.1", "4.9 M"),
        # https://github.com/Megvii-BaseDetection/YOLOX gives 5.06 M, and 6.45, which are 2 × 3.2:
        # it counts multiplications and additions, MMDetection counts them as one.
        ("yolox_tiny", "3.2", "5.1 M"),
        # It gives 0.91 M, and 1.08, which are 2 × 0.5.
        ("yolox_nano", "0.5", "0.9 M"),
    ],
)
def test_figures_are_the_published_ones(rows, name, gflops, parameters):
    assert (rows[name]["GFLOPs"], rows[name]["parameters"]) == (gflops, parameters)


def test_parameters_are_those_of_the_network(rows, detectors, template_name):
    count = sum(parameter.numel() for parameter in detectors[template_name].parameters())
    assert rows[template_name]["parameters"] == f"{count / 1e6:.1f} M"


@torch.inference_mode()
def test_operations_are_mostly_those_of_convolutions(rows, detectors, template_name):
    """Of which each output costs as many multiply-adds as a filter has weights."""
    core = Core(detectors[template_name])
    counts = []

    def count(conv, _, output):
        counts.append(output.numel() * conv.weight[0].numel())

    hooks = [
        module.register_forward_hook(count)
        for module in core.modules()
        if isinstance(module, nn.Conv2d)
    ]
    width, height = template_files.load(template_name)["input_size"]
    core(torch.zeros(1, 3, height, width))
    for hook in hooks:
        hook.remove()
    gflops = float(rows[template_name]["GFLOPs"])
    assert gflops == pytest.approx(sum(counts) / 1e9, rel=0.03, abs=0.1)


# Published weights

#: Templates that start from weights, unless told otherwise.
WITH_WEIGHTS = ["atss_mobilenetv2", "rtmdet_tiny", "ssd_mobilenetv2", "yolox_tiny"]


def test_templates_without_published_weights_start_from_scratch():
    assert [name for name in SHIPPED if template_files.load(name).get("pretrained")] == WITH_WEIGHTS


@pytest.mark.parametrize("name", ["rtmdet_tiny", "yolox_nano", "yolox_tiny"])
def test_the_network_is_mmdetections(detectors, name):
    """So that the weights it publishes fit, and mean the same."""
    detector, expected = detectors[name], MODELS.build(packaged(name)).eval()
    assert shapes(detector) == shapes(expected)

    expected.load_state_dict(detector.state_dict())
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, 3, 64, 96, generator=generator)
    with torch.inference_mode():
        found, wanted = detector.extract_feat(images), expected.extract_feat(images)
        for level, wanted_level in zip(found, wanted, strict=True):
            scale = wanted_level.std()  # small, with initial weights
            assert scale > 0
            torch.testing.assert_close(level / scale, wanted_level / scale, rtol=1e-4, atol=1e-4)
        features = [torch.randn(level.shape, generator=generator) for level in wanted]
        found, wanted = detector.bbox_head(features), expected.bbox_head(features)
        for kind, wanted_kind in zip(found, wanted, strict=True):
            torch.testing.assert_close(list(kind), list(wanted_kind), rtol=1e-4, atol=1e-4)


def test_the_backbone_of_ssd_is_that_of_mmdetections_ssdlite(detectors):
    expected = MODELS.build(packaged("ssd_mobilenetv2")).backbone
    assert shapes(detectors["ssd_mobilenetv2"].backbone) == shapes(expected)


def test_the_backbone_of_atss_is_mmdetections(detectors):
    expected = MODELS.build({"type": "MobileNetV2"})
    assert shapes(detectors["atss_mobilenetv2"].backbone) == shapes(expected)


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_pretrained_weights_are_those_that_mmdetection_publishes(name):
    source = template_files.load(name)["pretrained"]["source"]
    if name == "atss_mobilenetv2":  # the backbone alone
        hub = Path(mmengine.__file__).parent / "hub/openmmlab.json"
        assert source == json.loads(hub.read_text(encoding="utf-8"))["mmdet/mobilenet_v2"]
        return
    config = PACKAGED[name]
    metafile = (CONFIGS / config).parent / "metafile.yml"
    models = yaml.safe_load(metafile.read_text(encoding="utf-8"))["Models"]
    (published,) = (model for model in models if model["Config"] == f"configs/{config}")
    assert source == published["Weights"]


@pytest.mark.parametrize("name", sorted(PACKAGED.keys() & WITH_WEIGHTS))
def test_images_are_as_the_pretrained_weights_have_seen_them(name):
    """Channels may be in another order, which is then named."""
    template, theirs = template_files.load(name), packaged(name)["data_preprocessor"]
    ours = template["model"]["data_preprocessor"]
    assert not ours.get("bgr_to_rgb")
    order = {"bgr": 1, "rgb": -1}[template["pretrained"]["channel_order"]]
    assert order == (-1 if theirs.get("bgr_to_rgb") else 1)
    for key in ("mean", "std"):
        assert ours.get(key, []) == list(theirs.get(key, []))[::order]


def test_images_for_the_backbone_of_atss_are_normalized_as_for_imagenet():
    """In RGB: https://pytorch.org/vision/stable/models.html, in grey levels from 0 to 255."""
    template = template_files.load("atss_mobilenetv2")
    assert template["pretrained"]["channel_order"] == "rgb"
    preprocessor = template["model"]["data_preprocessor"]
    assert not preprocessor["bgr_to_rgb"]
    rgb = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]) * 255
    bgr = [preprocessor["mean"], preprocessor["std"]]
    np.testing.assert_allclose(bgr, rgb[:, ::-1], atol=0.001)
