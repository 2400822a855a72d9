"""Finished weights: which are used instead of training, and which are refused."""

import logging
from copy import deepcopy

import numpy as np
import pytest
import template_files
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import save_checkpoint

from detmake.errors import InputError
from detmake.model.finished_weights import adopt
from detmake.model.network import build_detector, model_config
from detmake.model.snapshot import Snapshot

CLASSES = ["red cell", "white cell", "platelet"]
ANCHORS = [
    [[10, 10], [12, 20], [20, 12], [25, 25], [30, 40]],
    [[60, 60], [50, 80], [80, 50], [90, 90], [120, 120]],
]
NAMES = ["atss_mobilenetv2", "ssd_mobilenetv2"]


@pytest.fixture(params=NAMES)
def settings(request):
    """The settings of a run with a template."""
    return template_files.load(request.param)


@pytest.fixture
def atss():
    return template_files.load(NAMES[0])


@pytest.fixture
def ssd():
    return template_files.load(NAMES[1])


def adopt_arguments(settings):
    """The arguments of `adopt` that a template decides."""
    template = {"id": settings["id"], "name": settings["name"]}
    return settings["model"], settings["input_size"], template


def train_coco(classes=CLASSES, seed=0):
    """A prepared train subset with forty boxes."""
    rng = np.random.default_rng(seed)
    return {
        "info": {"image_root": "images", "annotation_file": "train.json"},
        "categories": [{"id": n, "name": name} for n, name in enumerate(classes, start=1)],
        "images": [{"id": 5, "file_name": "5.jpg", "width": 640, "height": 480}],
        "annotations": [
            {
                "id": n + 1,
                "image_id": 5,
                "category_id": n % len(classes) + 1,
                "bbox": [10.0, 20.0, *np.exp(rng.normal(4, 0.5, 2)).tolist()],
            }
            for n in range(40)
        ],
    }


def with_anchors(settings):
    """Set anchor sizes if the template fits its anchors."""
    settings = deepcopy(settings)
    generator = settings["model"]["bbox_head"].get("anchor_generator", {})
    if "base_sizes" in generator:
        generator["base_sizes"] = ANCHORS
    return settings


def random_detector(settings, classes=CLASSES):
    torch.manual_seed(3)
    detector = build_detector(model_config(with_anchors(settings)["model"], len(classes)))
    for value in detector.state_dict().values():  # all weights are random
        if value.is_floating_point():
            value.add_(0.1 * torch.rand(value.shape))
    return detector


def random_snapshot(settings, classes=CLASSES, input_size=(320, 256)):
    return Snapshot(
        model=model_config(with_anchors(settings)["model"], len(classes)),
        labels=list(classes),
        input_size=list(input_size),
        confidence_threshold=0.35,
        template={"id": "of the snapshot", "name": "Detector"},
        state_dict=random_detector(settings, classes).state_dict(),
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pth"


def assert_same_weights(found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def refused(path, *args):
    """Return the message of a refusal, which must start with the path of the file."""
    with pytest.raises(InputError) as error:
        adopt(path, *args)
    assert str(error.value).startswith(f"{path}: ")
    return str(error.value)


# Snapshots of detmake


def test_a_snapshot_is_adopted_unchanged(settings, path, caplog):
    """It keeps its input size, anchors, threshold and template."""
    caplog.set_level(logging.INFO, "detmake")
    snapshot = random_snapshot(settings)
    snapshot.save(path)
    adopted = adopt(path, *adopt_arguments(settings), train_coco())
    assert adopted.model == snapshot.model
    assert adopted.labels == CLASSES
    assert adopted.input_size == [320, 256] != settings["input_size"]
    assert adopted.confidence_threshold == 0.35
    assert adopted.template == snapshot.template
    assert_same_weights(adopted.state_dict, snapshot.state_dict)
    assert f"Snapshot {path}: Detector, input 320×256" in caplog.text


def test_a_snapshot_of_ssd_keeps_the_anchors_it_was_trained_with(ssd, path):
    """Its anchors are not fitted to the boxes of this train subset."""
    random_snapshot(ssd).save(path)
    for seed in (1, 2):
        adopted = adopt(path, *adopt_arguments(ssd), train_coco(seed=seed))
        assert adopted.model["bbox_head"]["anchor_generator"]["base_sizes"] == ANCHORS
        generator = adopted.detector().bbox_head.prior_generator
        sizes = [level[:, 2:] - level[:, :2] for level in generator.base_anchors]
        np.testing.assert_allclose(torch.stack(sizes).tolist(), ANCHORS)


@pytest.mark.parametrize(
    "classes",
    [
        ["red cell", "white cell", "thrombocyte"],
        ["white cell", "red cell", "platelet"],
        ["red cell", "white cell"],
        [*CLASSES, "other"],
    ],
    ids=["other name", "other order", "fewer", "more"],
)
def test_a_snapshot_of_other_classes_is_refused(atss, path, classes):
    random_snapshot(atss, classes).save(path)
    message = refused(path, *adopt_arguments(atss), train_coco())
    assert f"classes {', '.join(classes)}, expected" in message
    assert f"train subset: {', '.join(CLASSES)}." in message


def test_a_snapshot_of_another_template_is_refused(atss, ssd, path):
    random_snapshot(atss).save(path)
    message = refused(path, *adopt_arguments(ssd), train_coco())
    assert "missing: bbox_head.cls_convs.0.0.conv.weight, " in message
    assert "unexpected: neck.lateral_convs.0.conv.weight, " in message


def test_a_snapshot_of_another_backbone_is_refused(atss, path):
    other = deepcopy(atss)
    other["model"]["backbone"]["widen_factor"] = 0.5
    random_snapshot(other).save(path)
    message = refused(path, *adopt_arguments(atss), train_coco())
    assert "backbone.conv1.conv.weight [16, 3, 3, 3] instead of [32, 3, 3, 3]" in message


# Checkpoints of MMDetection


def save_plain(detector, path):
    meta = {"dataset_meta": {"classes": ("a", "b", "c")}, "epoch": 12}
    torch.save({"meta": meta, "state_dict": detector.state_dict()}, path)


def save_as_runner(detector, path):
    """Save the weights with everything else that MMEngine's Runner saves."""
    optimizer = torch.optim.AdamW(detector.parameters())
    loss = HistoryBuffer()
    loss.update(1.5)
    checkpoint = {
        "meta": {"epoch": 12, "iter": 400, "cfg": "model = dict()", "seed": 1},
        "state_dict": detector.state_dict(),
        "message_hub": {"log_scalars": {"train/loss": loss}, "runtime_info": {"epoch": 12}},
        "optimizer": optimizer.state_dict(),
        "param_schedulers": [{"base_values": [np.float64(0.1)]}],
    }
    save_checkpoint(checkpoint, str(path))


@pytest.mark.parametrize("save", [save_plain, save_as_runner])
def test_a_checkpoint_is_adopted(settings, path, save):
    settings = with_anchors(settings)
    detector = random_detector(settings)
    save(detector, path)
    adopted = adopt(path, *adopt_arguments(settings), train_coco())
    assert_same_weights(adopted.state_dict, detector.state_dict())
    assert adopted.model == model_config(settings["model"], 3)
    assert adopted.labels == CLASSES
    assert adopted.input_size == settings["input_size"]
    assert adopted.confidence_threshold == 0
    assert adopted.template == {"id": settings["id"], "name": settings["name"]}


def test_an_adopted_checkpoint_can_be_saved_and_adopted_again(atss, path):
    detector = random_detector(atss)
    save_as_runner(detector, path)
    again = path.with_name("snapshot.pth")
    adopt(path, *adopt_arguments(atss), train_coco()).save(again)
    adopted = adopt(again, *adopt_arguments(atss), train_coco())
    assert_same_weights(adopted.state_dict, detector.state_dict())
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        found = adopted.detector().cpu()(images, mode="tensor")
        expected = detector.eval()(images, mode="tensor")
    for kind, expected_kind in zip(found, expected, strict=True):
        torch.testing.assert_close(kind, expected_kind)


def test_an_old_checkpoint_without_batch_counters_is_adopted(atss, path):
    weights = {
        name: value
        for name, value in random_detector(atss).state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    torch.save({"meta": {}, "state_dict": weights}, path)
    adopted = adopt(path, *adopt_arguments(atss), train_coco())
    for name, value in weights.items():
        assert torch.equal(adopted.state_dict[name], value), name
    assert len(adopted.state_dict) > len(weights)
    adopted.save(path)
    assert not Snapshot.load(path).detector().training  # it loads: nothing is missing


def test_a_checkpoint_of_another_number_of_classes_is_refused(atss, path):
    save_plain(random_detector(atss, ["a", "b"]), path)
    message = refused(path, *adopt_arguments(atss), train_coco())
    assert "bbox_head.atss_cls.weight [2, 64, 3, 3] instead of [3, 64, 3, 3]" in message
    assert "bbox_head.atss_cls.bias [2] instead of [3]" in message


def test_a_checkpoint_of_another_template_is_refused(atss, ssd, path):
    save_plain(random_detector(ssd), path)
    message = refused(path, *adopt_arguments(atss), train_coco())
    assert "missing: neck.lateral_convs.0.conv.weight, " in message
    assert "unexpected: bbox_head.cls_convs.0.0.conv.weight, " in message


def test_a_checkpoint_of_a_backbone_only_is_refused(atss, path):
    torch.save(random_detector(atss).backbone.state_dict(), path)
    assert "unexpected: conv1.conv.weight, " in refused(path, *adopt_arguments(atss), train_coco())


def test_a_checkpoint_of_ssd_needs_the_anchors_it_was_trained_with(ssd, path):
    """A checkpoint does not hold its anchors, and fitted ones would differ."""
    save_plain(random_detector(ssd), path)
    with pytest.raises(InputError) as error:
        adopt(path, *adopt_arguments(ssd), train_coco())
    for part in ("model.bbox_head.anchor_generator.base_sizes", "[5, 5]", "[width, height]"):
        assert part in str(error.value)


# Other files


def test_a_file_without_weights_is_refused(settings, path):
    path.write_text("Weights are elsewhere.\n")
    assert "cannot be read as a checkpoint" in refused(
        path, *adopt_arguments(settings), train_coco()
    )


def test_a_missing_file_is_refused(settings, path):
    assert "No such file" in refused(path, *adopt_arguments(settings), train_coco())


def test_a_truncated_snapshot_is_refused(atss, path):
    random_snapshot(atss).save(path)
    path.write_bytes(path.read_bytes()[:100_000])
    assert "cannot be read as a checkpoint" in refused(path, *adopt_arguments(atss), train_coco())
