"""Snapshots are saved and loaded; other files are refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from detmake.errors import InputError
from detmake.model.network import build_detector, model_config
from detmake.model.snapshot import Snapshot

TEMPLATE = Path(__file__).parents[2] / "templates/atss_mobilenetv2.yaml"


@pytest.fixture(scope="module")
def snapshot():
    """A snapshot with random weights."""
    model = model_config(yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))["model"], 3)
    detector = build_detector(model)
    return Snapshot(
        model=model,
        labels=["red", "white", "platelet"],
        input_size=[160, 96],
        confidence_threshold=0.325,
        template={"id": "ATSS", "name": "ATSS-MobileNetV2"},
        state_dict=detector.state_dict(),
    )


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


def test_a_detector_has_the_weights_of_its_snapshot(snapshot):
    detector = snapshot.detector()
    assert not detector.training
    for name, value in detector.state_dict().items():
        assert torch.equal(value.cpu(), snapshot.state_dict[name].cpu()), name


@pytest.mark.parametrize("part", ["neck", "bbox_head", "backbone"])
def test_a_snapshot_cannot_call_what_is_not_of_mmdetection(snapshot, tmp_path, part):
    made = tmp_path / "made"
    model = {**snapshot.model, part: {"type": "os.system", "command": f"touch {made}"}}
    replace(snapshot, model=model).save(tmp_path / "weights.pth")
    with pytest.raises(InputError, match=r"type: found os\.system, expected the name of a class"):
        Snapshot.load(tmp_path / "weights.pth").detector()
    assert not made.exists()


def test_a_model_cannot_name_weights_of_its_own(snapshot, tmp_path):
    """MMEngine reads them with all that they run."""
    own = {"type": "Pretrained", "checkpoint": str(tmp_path / "stranger.pth")}
    backbone = {**snapshot.model["backbone"], "init_cfg": own}
    detector = build_detector({**snapshot.model, "backbone": backbone})
    with pytest.raises(InputError, match="name pretrained weights by the key `pretrained`"):
        detector.init_weights()


class RunsCode:
    """Creates the file `ran` when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("ran"),)


def test_no_part_of_a_model_reads_files(snapshot, tmp_path, monkeypatch):
    """A teacher's weights or configuration, and those of backbones that do not use `init_cfg`."""
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": RunsCode()}, "stranger.pth")
    Path("stranger.py").write_text("import pathlib\npathlib.Path('ran').touch()\n")
    model = {**snapshot.model, "data_preprocessor": None}
    parts = {key: model[key] for key in ("backbone", "neck", "bbox_head")}
    teacher = {f"teacher_{key}": value for key, value in parts.items()}
    distilled = {"type": "KnowledgeDistillationSingleStageDetector", "teacher_ckpt": None}
    initial = {"type": "Any", "checkpoint": "stranger.pth"}
    for given in (
        {"type": "LAD", **parts, **teacher, "teacher_ckpt": "stranger.pth"},
        {**distilled, **parts, "teacher_config": "stranger.py"},
        {**model, "backbone": {"type": "PyramidVisionTransformer", "init_cfg": initial}},
    ):
        replace(snapshot, model=given).save(tmp_path / "weights.pth")
        with pytest.raises(InputError, match=r"found stranger\.\w+, expected no file"):
            build_detector(Snapshot.load(tmp_path / "weights.pth").model).init_weights()
    assert not Path("ran").exists()


class Harmful:
    """Not a plain value: reading it would run code that the file names."""


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
def test_a_file_that_is_no_snapshot_is_refused_with_its_path(tmp_path, write):
    path = tmp_path / "weights.pth"
    write(path)
    with pytest.raises(InputError) as error:
        Snapshot.load(path)
    assert str(error.value).startswith(f"{path}: ")


def test_a_truncated_snapshot_is_refused(snapshot, tmp_path):
    path = tmp_path / "weights.pth"
    snapshot.save(path)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(InputError, match=r"weights\.pth: "):
        Snapshot.load(path)
