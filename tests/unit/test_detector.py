"""Detectors: the snapshot against MMDetection by hand, and the contract that all of them keep."""

from dataclasses import replace
from pathlib import Path

import cv2
import known_model
import numpy as np
import pytest
import template_files
import torch
from mmcv.transforms import Compose
from mmdet.structures import DetDataSample

from detmake.errors import InputError
from detmake.model import detector as detector_module
from detmake.model.detector import SnapshotDetector
from detmake.model.network import build_detector, model_config
from detmake.model.snapshot import Snapshot
from detmake.runtime.images import read_image
from detmake.runtime.inference import OpenvinoDetector
from detmake.tiling import Tiling

INPUT_SIZE = (160, 96)  # width, height


@pytest.fixture(scope="module")
def snapshot():
    """A detector with random weights that finds many boxes of all classes."""
    model = model_config(template_files.load("atss_mobilenetv2")["model"], 3)
    torch.manual_seed(0)
    detector = build_detector(model)
    head = detector.bbox_head
    torch.nn.init.normal_(head.atss_cls.weight, std=0.3)
    torch.nn.init.normal_(head.atss_reg.weight, std=0.3)
    return Snapshot(
        model=model,
        labels=known_model.LABELS,
        input_size=list(INPUT_SIZE),
        confidence_threshold=0.5,
        template={"id": "ATSS", "name": "ATSS-MobileNetV2"},
        state_dict=detector.state_dict(),
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Image files larger and smaller than the input, upright and across."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    paths = []
    for number, (width, height) in enumerate([(250, 130), (70, 120), INPUT_SIZE]):
        noise = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        paths.append(folder / f"{number}.png")
        cv2.imwrite(str(paths[-1]), cv2.resize(noise, (width, height)))
    return paths


def assert_equal(these, those):
    np.testing.assert_array_equal(these.boxes, those.boxes)
    np.testing.assert_array_equal(these.scores, those.scores)
    np.testing.assert_array_equal(these.labels, those.labels)


# All detectors


@pytest.mark.parametrize("kind", ["snapshot", "model folder"])
def test_every_detector_keeps_the_contract(kind, snapshot, images, tmp_path):
    if kind == "snapshot":
        detector = SnapshotDetector(snapshot)
    else:
        detector = OpenvinoDetector(known_model.write(tmp_path), 1)
    assert list(detector.labels) == known_model.LABELS
    assert detector.confidence_threshold == 0.5
    pixels = [read_image(path) for path in images] * 3  # more than a batch
    found = [detector(image) for image in pixels]
    for image, here in zip(pixels, found, strict=True):
        count = len(here.scores)
        assert 0 < count <= 100
        assert (here.boxes.shape, here.labels.shape) == ((count, 4), (count,))
        assert 0 <= here.scores.min() <= here.scores.max() <= 1
        assert set(here.labels) == {0, 1, 2}
        height, width = image.shape[:2]
        assert here.boxes.min() >= 0
        assert here.boxes[:, 0::2].max() == pytest.approx(width, abs=0.01)
        assert here.boxes[:, 1::2].max() == pytest.approx(height, abs=0.01)
    # A batch is computed in another order than one image.
    tolerance = 1e-5 if kind == "snapshot" else 0
    for here, streamed in zip(found, detector.stream(iter(pixels)), strict=True):
        np.testing.assert_allclose(here.boxes, streamed.boxes, rtol=tolerance, atol=100 * tolerance)
        np.testing.assert_allclose(here.scores, streamed.scores, rtol=tolerance)
        np.testing.assert_array_equal(here.labels, streamed.labels)


# Snapshots


def test_a_snapshot_keeps_its_tiling(snapshot, tmp_path):
    tiled = replace(snapshot, tiling=Tiling((100, 60), 0.2, True).describe())
    for name, one in (("tiled", tiled), ("whole", snapshot)):
        one.save(tmp_path / f"{name}.pth")
        assert Snapshot.load(tmp_path / f"{name}.pth").tiling == one.tiling
    assert "tiling" not in torch.load(tmp_path / "whole.pth", weights_only=True)


@torch.inference_mode()
def by_hand(detector, path):
    """Boxes in pixels of the image, scores and labels: resized, detected, scaled back."""
    image = cv2.imread(str(path))
    height, width = image.shape[:2]
    resized = cv2.resize(image, INPUT_SIZE, interpolation=cv2.INTER_LINEAR)
    shape = INPUT_SIZE[::-1]
    sample = DetDataSample(
        metainfo={"img_shape": shape, "ori_shape": shape, "scale_factor": (1.0, 1.0)}
    )
    inputs = torch.from_numpy(resized).permute(2, 0, 1)
    found = detector.test_step({"inputs": [inputs], "data_samples": [sample]})[0].pred_instances
    scale = np.array([width, height, width, height]) / np.array([*INPUT_SIZE, *INPUT_SIZE])
    return found.bboxes.cpu().numpy() * scale, found.scores.cpu(), found.labels.cpu()


def test_a_snapshot_finds_what_mmdetection_finds_in_pixels_of_the_image(snapshot, images):
    reference, detector = snapshot.detector(), SnapshotDetector(snapshot)
    for path in images:
        found = detector(read_image(path))
        boxes, scores, labels = by_hand(reference, path)
        np.testing.assert_allclose(found.boxes, boxes, rtol=0, atol=0.01)
        np.testing.assert_allclose(found.scores, scores, rtol=1e-5)
        np.testing.assert_array_equal(found.labels, labels)
        assert len(found.scores) > 10
        assert np.all(np.diff(found.scores) <= 0)


def rotated_jpeg(path: Path, image: np.ndarray) -> None:
    """A JPEG whose EXIF orientation says: turn by 90 degrees."""
    data = cv2.imencode(".jpg", image)[1].tobytes()
    tiff = b"II*\0\x08\0\0\0" + b"\x01\0" + b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" + b"\0" * 4
    exif = b"Exif\0\0" + tiff
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])


@pytest.mark.parametrize("kind", ["png", "jpg", "turned", "alpha", "grey"])
def test_a_snapshot_finds_the_same_as_with_mmdetections_file_loader(
    kind, snapshot, images, tmp_path
):
    image = read_image(images[0])
    path = tmp_path / ("image.jpg" if kind in ("jpg", "turned") else "image.png")
    if kind == "turned":
        rotated_jpeg(path, image)
        assert read_image(path).shape == (250, 130, 3)
    else:
        channels = {
            "alpha": np.dstack([image, image[..., 0]]),
            "grey": image[..., 0],
        }
        cv2.imwrite(str(path), channels.get(kind, image))
    detector = SnapshotDetector(snapshot)
    packed = Compose(detector_module.test_pipeline(INPUT_SIZE))(
        {"img_path": str(path), "img_id": 0}
    )
    expected = detector_module._detect(snapshot.detector(), [packed])[0]
    assert_equal(detector(read_image(path)), expected)


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(InputError, match=r"missing\.png: expected an image file, found none"):
        read_image(tmp_path / "missing.png")


def test_an_image_with_nothing_in_it(snapshot, images):
    weights = {name: value.clone() for name, value in snapshot.state_dict.items()}
    weights["bbox_head.atss_cls.bias"].fill_(-50)
    weights["bbox_head.atss_cls.weight"].zero_()
    found = SnapshotDetector(replace(snapshot, state_dict=weights))(read_image(images[0]))
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == found.labels.shape == (0,)
