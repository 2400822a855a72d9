"""Snapshots: written, read, refused, and their predictions against MMDetection by hand."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from mmdet.structures import DetDataSample

from detmake.errors import InputError
from detmake.model.network import build_detector, model_config
from detmake.model.snapshot import Snapshot, predict

TEMPLATE = Path(__file__).parents[2] / "templates/atss_mobilenetv2.yaml"
INPUT_SIZE = (160, 96)  # width, height


@pytest.fixture(scope="module")
def snapshot():
    """A detector with random weights that finds many boxes of all classes."""
    model = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))["model"]
    model = model_config(model, 3)
    torch.manual_seed(0)
    detector = build_detector(model)
    head = detector.bbox_head
    torch.nn.init.normal_(head.atss_cls.weight, std=0.3)
    torch.nn.init.normal_(head.atss_reg.weight, std=0.3)
    return Snapshot(
        model=model,
        labels=["red", "white", "platelet"],
        input_size=list(INPUT_SIZE),
        confidence_threshold=0.325,
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


# Files


def test_a_snapshot_comes_back_as_it_was_saved(snapshot, tmp_path):
    path = tmp_path / "run" / "weights.pth"
    snapshot.save(path)
    assert [entry.name for entry in path.parent.iterdir()] == ["weights.pth"]
    loaded = Snapshot.load(path)
    for name in ("model", "labels", "input_size", "confidence_threshold", "template"):
        assert getattr(loaded, name) == getattr(snapshot, name)
    assert loaded.state_dict.keys() == snapshot.state_dict.keys()
    for name, value in snapshot.state_dict.items():
        assert loaded.state_dict[name].dtype == value.dtype
        assert torch.equal(loaded.state_dict[name].cpu(), value.cpu())


def test_a_snapshot_holds_nothing_but_tensors_and_plain_values(snapshot, tmp_path):
    snapshot.save(tmp_path / "weights.pth")
    content = torch.load(tmp_path / "weights.pth", weights_only=True)
    assert content["labels"] == ["red", "white", "platelet"]
    assert content["confidence_threshold"] == 0.325


def test_a_detector_has_the_weights_of_its_snapshot(snapshot):
    detector = snapshot.detector()
    assert not detector.training
    for name, value in detector.state_dict().items():
        assert torch.equal(value.cpu(), snapshot.state_dict[name].cpu()), name


class Harmful:
    """No plain value: to read it would run code that the file names."""


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("no snapshot"),
        lambda path: path.write_bytes(b""),
        lambda path: torch.save({"state_dict": {}}, path),
        lambda path: torch.save([1, 2], path),
        lambda path: Snapshot({"type": Harmful()}, [], [], 0.5, {}, {}).save(path),
        lambda path: None,
    ],
    ids=["text", "empty", "other keys", "a list", "an object", "missing"],
)
def test_what_is_no_snapshot_is_refused_by_name(tmp_path, write):
    path = tmp_path / "weights.pth"
    write(path)
    with pytest.raises(InputError) as error:
        Snapshot.load(path)
    assert str(error.value).startswith(f"{path}: ")


def test_a_snapshot_cut_short_is_refused(snapshot, tmp_path):
    path = tmp_path / "weights.pth"
    snapshot.save(path)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(InputError, match=r"weights\.pth: "):
        Snapshot.load(path)


# Prediction


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


def test_predictions_are_in_pixels_of_the_image(snapshot, images):
    detector = snapshot.detector()
    found = list(predict(detector, snapshot.input_size, images))
    assert len(found) == len(images)
    for path, here in zip(images, found, strict=True):
        boxes, scores, labels = by_hand(detector, path)
        np.testing.assert_allclose(here.boxes, boxes, rtol=0, atol=0.01)
        np.testing.assert_allclose(here.scores, scores, rtol=1e-5)
        np.testing.assert_array_equal(here.labels, labels)

        assert 10 < len(here.scores) <= 100
        assert set(here.labels) == {0, 1, 2}
        assert np.all(np.diff(here.scores) <= 0)
        height, width = cv2.imread(str(path)).shape[:2]
        assert here.boxes[:, 0::2].max() == pytest.approx(width, abs=0.01)
        assert here.boxes[:, 1::2].max() == pytest.approx(height, abs=0.01)


def test_predictions_are_computed_one_by_one(snapshot, images):
    first, *_, missing = [images[0], images[0].parent / "missing.png"]
    predictions = predict(snapshot.detector(), snapshot.input_size, [first, missing])
    assert len(next(predictions).scores) > 0
    with pytest.raises(FileNotFoundError):
        next(predictions)


def test_an_image_with_nothing_in_it(snapshot, images):
    detector = snapshot.detector()
    detector.bbox_head.atss_cls.bias.data.fill_(-50)
    detector.bbox_head.atss_cls.weight.data.zero_()
    (found,) = predict(detector, snapshot.input_size, images[:1])
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == found.labels.shape == (0,)
