"""The exported model against MMDetection's own predictions, and as OpenVINO Model API reads it."""

from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import pytest
import torch
import yaml
from model_api.adapters import OpenvinoAdapter, create_core
from model_api.models import Model

from detmake import inference, ir, quantization, snapshot
from detmake.network import build_detector, model_config
from detmake.snapshot import Snapshot

TEMPLATE = Path(__file__).parents[2] / "config/templates/atss_mobilenetv2.yaml"
LABELS = ["red cell", "platelet", "white cell"]


def confident_weights(detector) -> None:
    """Make random weights give scores that spread over [0, 1], as a trained network's do."""
    torch.manual_seed(3)
    for parameter in detector.bbox_head.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.12)
    torch.nn.init.constant_(detector.bbox_head.atss_cls.bias, -1.0)


@pytest.fixture(scope="module")
def random_snapshot() -> Snapshot:
    torch.manual_seed(0)
    template = yaml.safe_load(TEMPLATE.read_text())
    config = model_config(template["model"], len(LABELS))
    detector = build_detector(config)
    detector.init_weights()
    confident_weights(detector)
    return Snapshot(
        model=config,
        labels=LABELS,
        input_size=[224, 160],
        confidence_threshold=0.3,
        template={"id": "test", "name": "ATSS"},
        state_dict=detector.state_dict(),
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    paths = []
    for index, (width, height) in enumerate([(224, 160), (320, 240), (90, 200)]):
        image = cv2.resize(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8), (width, height))
        paths.append(folder / f"{index}.png")
        cv2.imwrite(str(paths[-1]), image)
    return paths


@pytest.fixture(scope="module")
def folder(random_snapshot, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    ir.export(random_snapshot, folder)
    return folder


def in_float32(folder: Path):
    """The model without the plugin's choice of bfloat16, to compare numbers."""
    return ov.Core().compile_model(
        folder / "openvino.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )


@pytest.mark.parametrize("resized_by, share", [("OpenCV", 1.0), ("the graph", 0.85)])
def test_finds_what_mmdetection_finds(random_snapshot, folder, images, resized_by, share):
    """Box by box: the same class, corners within a pixel, scores within 0.01.

    OpenCV rounds a resized image to whole grey levels and the graph does not: with random weights,
    non-maximum suppression then decides a few boxes otherwise.
    """
    model = in_float32(folder)
    expected = snapshot.predict(random_snapshot.detector(), random_snapshot.input_size, images)
    for path, reference in zip(images, expected, strict=True):
        image = inference.read_image(path)
        height, width = image.shape[:2]
        if resized_by == "OpenCV":
            image = cv2.resize(image, random_snapshot.input_size)
        found = model(image[None])
        boxes = found["bboxes"][0] * [width, height, width, height]
        confident = reference.scores > 0.1
        assert confident.sum() > 20
        distance = np.abs(boxes[None] - reference.boxes[confident][:, None]).max(axis=2)
        same = (
            (distance < 1.0)
            & (found["labels"][0] == reference.labels[confident][:, None])
            & (np.abs(found["scores"][0] - reference.scores[confident][:, None]) < 0.01)
        )
        assert same.any(axis=1).mean() >= share


def test_model_api_finds_the_same_boxes_to_the_pixel(folder, images):
    adapter = OpenvinoAdapter(
        create_core(),
        str(folder / "openvino.xml"),
        device="CPU",
        plugin_config={"EXECUTION_MODE_HINT": "ACCURACY"},  # as `inference` asks for it
    )
    wrapped = Model.create_model(adapter)
    assert wrapped.params.labels == ["red_cell", "platelet", "white_cell"]
    assert wrapped.params.confidence_threshold == pytest.approx(0.3)
    detector = inference.Detector(folder)
    assert detector.labels == LABELS
    for path in images:
        image = inference.read_image(path)
        ours, theirs = detector(image), wrapped(image)
        areas = np.prod(np.round(ours.boxes)[:, 2:] - np.round(ours.boxes)[:, :2], axis=1)
        kept = (ours.scores > 0.3) & (areas > 1)  # Model API leaves out single pixels
        assert kept.sum() > 5
        np.testing.assert_array_equal(theirs.bboxes, np.round(ours.boxes[kept]))
        np.testing.assert_array_equal(theirs.labels, ours.labels[kept])
        np.testing.assert_allclose(theirs.scores, ours.scores[kept])


def test_weights_are_stored_in_half_precision(random_snapshot, folder):
    used = sum(v.numel() for k, v in random_snapshot.state_dict.items() if "conv2" not in k)
    assert (folder / "openvino.bin").stat().st_size < 2.2 * used


def test_only_the_core_is_quantized(folder, images):
    model = quantization.quantize(
        ov.Core().read_model(folder / "openvino.xml"), images, "performance"
    )
    quantizers = [node for node in model.get_ops() if node.get_type_name() == "FakeQuantize"]
    assert len(quantizers) > 50
    for node in quantizers:
        consumers = [
            target.get_node() for output in node.outputs() for target in output.get_target_inputs()
        ]
        assert not any("decoder" in consumer.get_friendly_name() for consumer in consumers)


def test_calibration_subset_is_spread_evenly():
    paths = [Path(str(i)) for i in range(10)]
    assert quantization.calibration_subset(paths, 300) == paths
    assert quantization.calibration_subset(paths, 5) == paths[::2]
    assert quantization.calibration_subset(paths, 1) == paths[:1]


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(inference.InputError, match=str(tmp_path)):
        inference.Detector(tmp_path)


def test_an_unreadable_image_is_named(tmp_path):
    (tmp_path / "no.png").write_bytes(b"no image")
    with pytest.raises(inference.InputError, match=r"no\.png"):
        inference.read_image(tmp_path / "no.png")
