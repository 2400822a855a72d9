"""The exported model finds what MMDetection finds, and OpenVINO Model API reads it."""

import functools
import json
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import pytest
import template_files
import torch
from mmdet.structures import DetDataSample
from model_api.adapters import OpenvinoAdapter, create_core
from model_api.models import Model
from torch import nn

from detmake.build.dependencies import code_of_scripts
from detmake.build.deployment import write_archive
from detmake.detections import Detections
from detmake.model import ir
from detmake.model.detector import SnapshotDetector
from detmake.model.network import Core, build_detector, model_config
from detmake.model.snapshot import Snapshot
from detmake.quantization import recipes
from detmake.runtime import inference
from detmake.runtime.images import read_image
from detmake.tiling import Tiling

LABELS = ["red cell", "platelet", "white cell"]
INPUT_SIZE = [224, 160]
IMAGE_SIZES = [(224, 160), (320, 240), (90, 200)]

# Mean and standard deviation that maps are given, by the name of their convolution. They make
# objects rare, as in a trained network.
MAPS = {
    "atss_cls": (-4.5, 1.8),
    "cls_convs": ([0.0, 0.0, 0.0, 8.0], 2.0),  # SSD: background is the last class
    "multi_level_conv_cls": (-5.0, 1.8),
    "rtm_cls": (-6.0, 1.8),
    "rtm_reg": (4.0, 0.8),  # distances to the sides, in strides
}


def make_images() -> list[np.ndarray]:
    """Images of several sizes with different content but the same distribution of colours."""
    pattern = np.random.default_rng(0).integers(0, 255, (15, 21, 3), dtype=np.uint8)
    patterns = (pattern, pattern[::-1], pattern[:, ::-1])
    return [cv2.resize(pattern, size) for pattern, size in zip(patterns, IMAGE_SIZES, strict=True)]


@torch.no_grad()
def let_maps_vary(detector) -> None:
    """Scale random weights so that maps vary from place to place, as in a trained network.

    With initial weights, signals fade from layer to layer, so all priors have nearly equal scores.
    """
    images = [cv2.resize(image, INPUT_SIZE) for image in make_images()]
    images = [torch.from_numpy(image).permute(2, 0, 1) for image in images]
    batch = detector.data_preprocessor({"inputs": images, "data_samples": None})["inputs"]
    scaled = set()

    def normalize_inputs(norm, inputs):
        if norm not in scaled:
            scaled.add(norm)
            norm.running_var.fill_(inputs[0].square().mean())

    def rescale_maps(mean, deviation, conv, inputs, maps):
        if conv in scaled:
            return None
        scaled.add(conv)
        factor = deviation / maps.std(dim=(0, 2, 3))
        conv.weight.mul_(factor.view(-1, 1, 1, 1))
        conv.bias.copy_(mean - maps.mean(dim=(0, 2, 3)) * factor)
        return conv(*inputs)

    hooks = [
        module.register_forward_pre_hook(normalize_inputs)
        for module in detector.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    for name, module in detector.bbox_head.named_modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:  # its output is a map
            nn.init.normal_(module.weight)
            nn.init.zeros_(module.bias)
            mean, deviation = MAPS.get(name.partition(".")[0], (0.0, 1.0))
            mean = torch.tensor(mean).repeat(module.out_channels // np.size(mean))
            scale = functools.partial(rescale_maps, mean, deviation)
            hooks.append(module.register_forward_hook(scale))
    Core(detector.eval())(batch)
    for hook in hooks:
        hook.remove()


def make_snapshot(name: str, input_size=INPUT_SIZE, initial: bool = False) -> Snapshot:
    """A snapshot with random weights: the initial ones, or weights that let maps vary."""
    template = template_files.load(name)
    template_files.fit_anchors(template["model"])
    config = model_config(template["model"], len(LABELS))
    # With seed 0, this network finds too many objects to be like a trained one.
    torch.manual_seed(1 if name == "yolox_nano_relu" else 0)
    detector = build_detector(config)
    detector.init_weights()
    if not initial:
        let_maps_vary(detector)
    return Snapshot(
        model=config,
        labels=LABELS,
        input_size=input_size,
        confidence_threshold=0.3,
        template={"id": template["id"], "name": template["name"]},
        state_dict=detector.state_dict(),
    )


# YOLOX-nano differs from another template only in width and convolutions.
@pytest.fixture(params=[name for name in template_files.NAMES if name != "yolox_nano"])
def template_name(request):
    return request.param


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """By template: a snapshot with random weights, its model before export, its model folder."""

    @functools.cache
    def call(name: str) -> tuple[Snapshot, ov.Model, Path]:
        original = make_snapshot(name)
        model = ir.convert(original)
        folder = tmp_path_factory.mktemp(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ir, "convert", lambda _: model)  # converting again takes seconds
            ir.export(original, folder)
        return original, model, folder

    return call


@pytest.fixture(scope="module")
def folder(exported) -> Path:
    return exported("atss_mobilenetv2")[2]


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    paths = []
    for index, image in enumerate(make_images()):
        paths.append(folder / f"{index}.png")
        cv2.imwrite(str(paths[-1]), image)
    return paths


def in_float32(model: ov.Model | Path):
    """Compile a model for float32, since the bfloat16 that OpenVINO may choose is too coarse."""
    return ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


@pytest.fixture(scope="module")
def compiled(exported):
    """By template: the compiled model, before or after export."""

    @functools.cache
    def call(name: str, after_export: bool):
        _, model, folder = exported(name)
        return in_float32(folder / "openvino.xml" if after_export else model)

    return call


def detect(model, image: np.ndarray, size: tuple[int, int]) -> Detections:
    """Run a compiled model on an image; return boxes in pixels of an image of the given size."""
    found = model(image[None])
    return Detections(found["bboxes"][0] * [*size, *size], found["scores"][0], found["labels"][0])


def share_missing(these: Detections, those: Detections, pixels: float, score: float) -> float:
    """Share of confident detections in `these` that have no match in `those`."""
    confident = these.scores > 0.1
    assert 10 < confident.sum() < 100  # fewer than a model returns at most
    distance = np.abs(these.boxes[confident][:, None] - those.boxes).max(axis=2)
    same = (
        (distance < pixels)
        & (these.labels[confident][:, None] == those.labels)
        & (np.abs(these.scores[confident][:, None] - those.scores) < score)
    )
    return 1 - same.any(axis=1).mean()


# Before export, numbers are float32. Export rounds weights to half precision; with random weights,
# this changes what non-maximum suppression decides for a few boxes.
@pytest.mark.parametrize(
    "after_export, pixels, score, missing", [(False, 0.05, 1e-3, 0.0), (True, 2.0, 0.02, 0.1)]
)
def test_the_model_finds_what_mmdetection_finds(
    exported, compiled, template_name, images, after_export, pixels, score, missing
):
    """It finds the same boxes and no others."""
    original, model = exported(template_name)[0], compiled(template_name, after_export)
    expected = SnapshotDetector(original)
    for path in images:
        image = read_image(path)
        reference = expected(image)
        # Resized by OpenCV, which rounds to whole grey levels, as in MMDetection.
        found = detect(model, cv2.resize(image, original.input_size), image.shape[1::-1])
        assert share_missing(reference, found, pixels, score) <= missing
        assert share_missing(found, reference, pixels, score) <= missing
        assert set(reference.labels[reference.scores > 0.1]) == {0, 1, 2}


@torch.inference_mode()
def test_the_model_resizes_images_as_pytorch_does(exported, compiled, template_name, images):
    """Resizing is bilinear, without antialiasing and without rounding to grey levels."""
    model = compiled(template_name, after_export=False)
    detector = exported(template_name)[0].detector()
    for path in images:
        image = read_image(path)
        size = image.shape[1::-1]
        resized = nn.functional.interpolate(
            torch.from_numpy(image).permute(2, 0, 1)[None].float(),
            INPUT_SIZE[::-1],
            mode="bilinear",
        )
        sample = DetDataSample(
            metainfo={
                "img_shape": INPUT_SIZE[::-1],
                "ori_shape": size[::-1],
                "scale_factor": tuple(np.divide(INPUT_SIZE, size)),
            }
        )
        batch = {"inputs": list(resized), "data_samples": [sample]}
        reference = detector.test_step(batch)[0].pred_instances.cpu().numpy()
        reference = Detections(
            reference.bboxes.clip(0, [*size, *size]), reference.scores, reference.labels
        )
        found = detect(model, image, size)
        assert share_missing(reference, found, 0.1, 2e-3) == 0
        assert share_missing(found, reference, 0.1, 2e-3) == 0


def test_boxes_without_area_are_dropped(exported, images):
    """MMDetection drops boxes outside the image and boxes with a negative width or height."""
    original = exported("rtmdet_tiny")[0]
    weights = {  # distances to the sides vary more, and many are negative
        name: value * 5 if re.fullmatch(r"bbox_head\.rtm_reg\.\d\.weight", name) else value
        for name, value in original.state_dict.items()
    }
    original = replace(original, state_dict=weights)
    detector, image = SnapshotDetector(original), read_image(images[0])
    model = in_float32(ir.convert(original))
    reference = detector(image)
    found = detect(model, image, IMAGE_SIZES[0])
    sizes = found.boxes[:, 2:] - found.boxes[:, :2]
    assert (sizes[found.scores > 0.1] > 0).all()
    assert share_missing(reference, found, 0.05, 1e-3) == 0
    assert share_missing(found, reference, 0.05, 1e-3) == 0

    # The network does predict such boxes.
    test_cfg = {**original.model["test_cfg"], "min_bbox_size": -1}
    all_boxes = replace(original, model={**original.model, "test_cfg": test_cfg})
    everything = SnapshotDetector(all_boxes)(image)
    sizes = everything.boxes[:, 2:] - everything.boxes[:, :2]
    sizes = sizes[everything.scores > 0.1]
    assert (sizes == 0).any()
    assert (sizes < 0).any()


# Run in a process of its own, since a crash would end this one.
DETECT_10_TIMES = """
import sys
import numpy as np
import openvino as ov

model = ov.Core().compile_model(sys.argv[1], "CPU", {"EXECUTION_MODE_HINT": "ACCURACY"})
rng = np.random.default_rng(0)
for _ in range(10):
    found = model(rng.integers(0, 255, (1, 240, 320, 3), dtype=np.uint8))
    assert len(found["scores"][0]) == 100
"""


def test_nearly_equal_scores_do_not_crash_the_process(tmp_path):
    """A network with its initial weights gives such scores."""
    original = make_snapshot("ssd_mobilenetv2", input_size=[320, 256], initial=True)
    ir.export(original, tmp_path)
    process = subprocess.run(
        [sys.executable, "-c", DETECT_10_TIMES, tmp_path / "openvino.xml"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr


def test_model_api_finds_the_same_boxes_to_the_pixel(folder, images):
    adapter = OpenvinoAdapter(
        create_core(),
        str(folder / "openvino.xml"),
        device="CPU",
        plugin_config={"EXECUTION_MODE_HINT": "ACCURACY"},  # as in `inference`
    )
    wrapped = Model.create_model(adapter)
    assert wrapped.params.labels == ["red_cell", "platelet", "white_cell"]
    assert wrapped.params.confidence_threshold == pytest.approx(0.3)
    detector = inference.OpenvinoDetector(folder)
    assert detector.labels == LABELS
    for path in images:
        image = read_image(path)
        ours, theirs = detector(image), wrapped(image)
        areas = np.prod(np.round(ours.boxes)[:, 2:] - np.round(ours.boxes)[:, :2], axis=1)
        kept = (ours.scores > 0.3) & (areas > 1)  # Model API leaves out single pixels
        assert kept.sum() > 5
        np.testing.assert_array_equal(theirs.bboxes, np.round(ours.boxes[kept]))
        np.testing.assert_array_equal(theirs.labels, ours.labels[kept])
        np.testing.assert_allclose(theirs.scores, ours.scores[kept])


def test_weights_are_stored_in_half_precision(exported, folder):
    weights = exported("atss_mobilenetv2")[0].state_dict
    used = sum(value.numel() for name, value in weights.items() if "conv2" not in name)
    assert (folder / "openvino.bin").stat().st_size < 2.2 * used


def test_only_the_core_is_quantized_and_the_image_is_not_clipped(exported, template_name, images):
    snapshot, _, folder = exported(template_name)
    floating_point = ov.Core().read_model(folder / "openvino.xml")
    model = recipes.quantize(floating_point, images, recipes.LADDER[0])
    quantizers = [
        node for node in model.get_ordered_ops() if node.get_type_name() == "FakeQuantize"
    ]
    assert len(quantizers) > 50
    for node in quantizers:
        consumers = [
            target.get_node() for output in node.outputs() for target in output.get_target_inputs()
        ]
        assert not any("decoder" in consumer.get_friendly_name() for consumer in consumers)
    # The first quantizer reads the image, the second what the first layer of the network reads. The
    # IR stores mean and deviation in half precision.
    preprocessor = snapshot.model["data_preprocessor"]
    mean, std = np.array(preprocessor.get("mean", 0)), np.array(preprocessor.get("std", 1))
    for quantizer, (low, high) in zip(
        quantizers, [(0, 255), (np.min(-mean / std), np.max((255 - mean) / std))], strict=False
    ):
        ends = [quantizer.input_value(port).get_node().data for port in (1, 2, 3, 4)]
        assert ends[0] == ends[2] <= low + 1e-3
        assert ends[1] == ends[3] >= high - 1e-3
    assert ends[1] < 1.3 * max(high, -low)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(inference.InputError, match=str(tmp_path)):
        inference.OpenvinoDetector(tmp_path)


def test_an_unreadable_image_is_refused_with_its_name(tmp_path):
    (tmp_path / "no.png").write_bytes(b"no image")
    with pytest.raises(inference.InputError, match=r"no\.png"):
        read_image(tmp_path / "no.png")


# Tiles


def in_tiles(snapshot: Snapshot, model: ov.Model, folder: Path) -> tuple[Snapshot, Path]:
    """The snapshot with tiles, and its model folder in float32, with figures to pack it."""
    # Tiles of the input's size: OpenCV rounds resized images to whole grey levels, the model not.
    tiled = replace(snapshot, tiling=Tiling(tuple(INPUT_SIZE), 0.2, False).describe())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ir, "convert", lambda _: model)
        ir.export(tiled, folder)
    ov.save_model(model, folder / "openvino.xml", compress_to_fp16=False)
    (folder / "performance.json").write_text("{}")
    return tiled, folder


def run_archive(folder: Path, image: Path, scratch: Path) -> Detections:
    """Pack a model folder, unpack it, and let its own code detect in an image."""
    scripts = Path(ir.__file__).parents[2]
    demo = scripts / "deployed/demo.py"
    files = code_of_scripts(scripts)["deployed/demo.py"].files
    modules = [scripts / file for file in files if file != "deployed/demo.py"]
    others = [scripts / "deployed/README.md", scripts.parent / "requirements.txt"]
    others += [scripts.parent / "LICENSE", scripts / "deployed/NOTICE"]
    archive = scratch / "model.zip"
    write_archive(archive, folder, demo, modules, *others, card="a card", weights="random")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(scratch)
    command = [sys.executable, "demo.py", image, "--output", scratch / "demo"]
    environment = {**os.environ, "PYTHONPATH": ""}
    subprocess.run(command, cwd=scratch / "model", env=environment, check=True, capture_output=True)
    found = json.loads((scratch / "demo/predictions.json").read_text())
    boxes = np.array([one["bbox"] for one in found])
    boxes[:, 2:] += boxes[:, :2]
    scores, classes = ([one[key] for one in found] for key in ("score", "category_id"))
    return Detections(boxes, np.array(scores), np.array(classes) - 1)


def test_snapshot_model_folder_and_archive_find_the_same_in_tiles(exported, images, tmp_path):
    """The archive runs its own copy of the library."""
    original, model, _ = exported("atss_mobilenetv2")
    tiled, folder = in_tiles(original, model, tmp_path / "openvino")
    image = read_image(images[1])
    found = inference.OpenvinoDetector(folder, 1)(image)
    for others in (SnapshotDetector(tiled)(image), run_archive(folder, images[1], tmp_path)):
        for these, those in ((found, others), (others, found)):
            confident = these.scores > 0.1
            assert confident.sum() > 10
            distance = np.abs(these.boxes[confident][:, None] - those.boxes).max(axis=2)
            score = np.abs(these.scores[confident][:, None] - those.scores)
            same = (distance < 0.05) & (score < 1e-3)
            same &= these.labels[confident][:, None] == those.labels
            assert same.any(axis=1).all()
    whole = SnapshotDetector(original)(image)
    assert (found.scores > 0.1).sum() > (whole.scores > 0.1).sum()
