"""Foreign checkpoints: they are read without running code, and weights that fit are loaded."""

import argparse
import contextlib
import logging
import os
import pickle
import sys
import tarfile
from collections import Counter, OrderedDict, defaultdict, deque
from copy import deepcopy
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mmengine.config import ConfigDict
from mmengine.dataset import DefaultSampler
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from detmake.errors import InputError
from detmake.model.checkpoint import load_pretrained, read, require_fit
from detmake.model.network import MODELS, build_detector, model_config

TEMPLATE = Path(__file__).parents[2] / "templates/atss_mobilenetv2.yaml"


def atss(num_classes=3, **preprocessor):
    model = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))["model"]
    model["data_preprocessor"].update(preprocessor)
    return build_detector(model_config(model, num_classes))


@pytest.fixture(scope="module")
def source():
    """The detector whose weights the files hold: 80 classes, all weights random."""
    torch.manual_seed(1)
    detector = atss(80)
    for value in detector.state_dict().values():
        if value.is_floating_point():
            value.add_(0.1 * torch.rand(value.shape))
    return detector.eval()


@pytest.fixture(scope="module")
def own():
    """An unchanged detector of 3 classes; copy it before use."""
    torch.manual_seed(2)
    return atss(3).eval()


def save(content, path, legacy=False, **options):
    torch.save(content, path, _use_new_zipfile_serialization=not legacy, **options)
    return path


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value), name


# Reading

WEIGHTS = {
    "conv.weight": torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0)),
    "bn.num_batches_tracked": torch.tensor(7),
    "half": torch.arange(6, dtype=torch.float16).reshape(2, 3).t(),  # not contiguous
    "part": torch.arange(10.0)[3:5],  # of a larger storage
    "scale": torch.tensor(2.5, dtype=torch.float64),
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "content",
    [
        WEIGHTS,
        OrderedDict(WEIGHTS),
        {"meta": {"epoch": 3}, "state_dict": OrderedDict(WEIGHTS), "optimizer": {"lr": 0.1}},
        {"state_dict": WEIGHTS, "ema_state_dict": {"module.scale": torch.zeros(1)}},
        {"start_epoch": 300, "model": WEIGHTS},
        {"model": {"type": "ATSS"}, "labels": ["a"], "state_dict": WEIGHTS},
        {f"module.{name}": value for name, value in WEIGHTS.items()},
    ],
    ids=["dict", "ordered", "mmengine", "averaged", "model", "snapshot", "parallel"],
)
def test_weights_are_found_in_both_file_formats(content, legacy, tmp_path):
    assert_same(read(save(content, tmp_path / "a.pth", legacy)), WEIGHTS)


def test_parameters_become_tensors_without_gradient(tmp_path):
    network = nn.Linear(3, 2)
    found = read(save(dict(network.named_parameters()), tmp_path / "a.pth"))
    assert {type(value) for value in found.values()} == {torch.Tensor}
    assert not any(value.requires_grad for value in found.values())
    assert torch.equal(found["weight"], network.weight)


def test_the_prefix_module_is_removed_only_if_all_names_have_it(tmp_path):
    weights = {"module.a": torch.zeros(1), "b": torch.ones(1)}
    assert_same(read(save(weights, tmp_path / "a.pth")), weights)


class Toy(BaseModel):
    """The smallest model that MMEngine trains."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)
        self.bn = nn.BatchNorm2d(2)

    def forward(self, *images, mode):
        return {
            "loss": self.bn(self.conv(torch.stack(images))).std() + self.conv.weight.pow(2).sum()
        }


class ObjectsHook(Hook):
    """Adds the kinds of objects that MMDetection's hooks add to a checkpoint."""

    def after_train_epoch(self, runner):
        runner.message_hub.update_info("best_score", np.float64(0.5))
        runner.message_hub.update_info("counts", np.arange(3))
        runner.message_hub.update_info("cfg", ConfigDict(a=ConfigDict(b=1)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint that MMEngine's Runner wrote, and the averaged weights of this Runner."""
    folder = tmp_path_factory.mktemp("runner")
    data = list(torch.randn(4, 3, 8, 8))
    runner = Runner(
        model=Toy(),
        work_dir=str(folder),
        train_dataloader={
            "dataset": data,
            "batch_size": 2,
            "sampler": {"type": DefaultSampler, "shuffle": False},
        },
        train_cfg={"by_epoch": True, "max_epochs": 2},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.5, "momentum": 0.9}},
        custom_hooks=[{"type": "EMAHook", "momentum": 0.3}, ObjectsHook()],
        default_scope="mmdet",
        log_level="ERROR",
    )
    runner.train()
    (averaging,) = (hook for hook in runner.hooks if type(hook).__name__ == "EMAHook")
    return (
        folder / "epoch_2.pth",
        averaging.ema_model.module.state_dict(),
        runner.model.state_dict(),
    )


def test_a_checkpoint_of_mmengine_gives_its_averaged_weights(trained):
    path, averaged, last = trained
    content = torch.load(path, weights_only=False)
    assert isinstance(content["message_hub"]["runtime_info"]["best_score"], np.float64)
    assert isinstance(content["message_hub"]["runtime_info"]["cfg"], ConfigDict)
    assert isinstance(content["message_hub"]["log_scalars"]["train/loss"], HistoryBuffer)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)

    found = read(path)
    assert not torch.equal(averaged["conv.weight"], last["conv.weight"])
    assert set(found) == set(averaged)
    parameters = [
        name for name in found if name.startswith("conv") or name in ("bn.weight", "bn.bias")
    ]
    for name in parameters:
        assert torch.equal(found[name], averaged[name])


class Subclass(dict):
    pass


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_objects_of_any_kind_are_ignored(legacy, protocol, tmp_path):
    kinds = Subclass(a=1)
    kinds.attribute = 2
    meta = {
        "default": defaultdict(list, {"a": [1]}),
        "queue": deque([1, 2], maxlen=3),
        "counter": Counter("aab"),
        "set": {1, 2},
        "subclass": kinds,
        "namespace": argparse.Namespace(lr=0.1),
        "array": np.arange(3),
        "objects": np.array([{"a": 1}, None], dtype=object),
        "scalar": np.float32(1),
        "method": HistoryBuffer.mean,
        "path": Path("a"),
        "bytes": b"\xff\x00",
        "dtype": torch.float32,
        "size": torch.Size([1]),
        "generator": torch.get_rng_state(),
        np.int64(3): slice(1, 2),
    }
    content = {"meta": meta, "state_dict": WEIGHTS}
    path = save(content, tmp_path / "a.pth", legacy, pickle_protocol=protocol)
    assert_same(read(path), WEIGHTS)


# Harmful files


class Call:
    """An object that is pickled as a function call."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call

    def __call__(self):
        """Do nothing: pickle only checks that it could call the object."""


def make_file(path):
    Path(path).touch()


def harm(marker):
    """Objects whose unpickling creates the file `marker`, unless the reader prevents it."""
    return {
        "system": Call(os.system, f"touch '{marker}'"),
        "exec": Call(exec, f"open({str(marker)!r}, 'w')"),
        "open": Call(open, str(marker), "w"),
        "mkdir": Call(Call(getattr, Call(import_module, "os"), "mkdir"), str(marker)),
        "torch": Call(torch.save, {}, str(marker)),
        "own": Call(make_file, str(marker)),
    }


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("kind", ["system", "exec", "open", "mkdir", "torch", "own"])
def test_no_function_named_in_the_file_is_called(kind, legacy, tmp_path):
    marker = tmp_path / "marker"
    evil = harm(marker)[kind]
    contents = [
        {"meta": evil, "state_dict": WEIGHTS},
        {"state_dict": {**WEIGHTS, "evil": evil}},
        {"state_dict": OrderedDict(WEIGHTS), "optimizer": {"state": [evil]}},
        {**WEIGHTS, "evil": evil},
    ]
    for number, content in enumerate(contents):
        path = save(content, tmp_path / f"{number}.pth", legacy)
        assert_same(read(path), WEIGHTS)
        assert not marker.exists()
    with pytest.raises(InputError, match="no weights by name"):
        read(save(evil, tmp_path / "alone.pth", legacy))
    assert not marker.exists()

    torch.load(tmp_path / "0.pth", weights_only=False)  # these files really are harmful
    assert marker.exists()


def test_no_module_named_in_the_file_is_imported(tmp_path, monkeypatch):
    marker = tmp_path / "marker"
    (tmp_path / "harmful_module.py").write_text(
        f"open({str(marker)!r}, 'w')\nclass Thing: pass\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import harmful_module

    path = save({"meta": harmful_module.Thing(), **WEIGHTS}, tmp_path / "a.pth")
    marker.unlink()
    monkeypatch.delitem(sys.modules, "harmful_module")
    assert_same(read(path), WEIGHTS)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()


def legacy_file(path, **parts):
    """Write a legacy file: consecutive pickles, some of them replaced, and no storages."""
    plain = {
        "magic": torch.serialization.MAGIC_NUMBER,
        "version": torch.serialization.PROTOCOL_VERSION,
        "system": {},
        "content": {},
        "storages": [],
    }
    path.write_bytes(b"".join((pickles(plain) | parts).values()))
    return path


def pickles(objects):
    return {name: pickle.dumps(item) for name, item in objects.items()}


@pytest.mark.parametrize("part", ["magic", "version", "system", "storages"])
def test_no_function_is_called_in_other_parts_of_the_file(part, tmp_path):
    marker = tmp_path / "marker"
    path = legacy_file(tmp_path / "a.pth", **pickles({part: harm(marker)["system"]}))
    with pytest.raises(InputError):
        read(path)
    assert not marker.exists()
    with contextlib.suppress(Exception):  # this file is harmful and also broken
        torch.load(path, weights_only=False)
    assert marker.exists()


def test_no_function_of_torch_is_changed(tmp_path):
    function = torch._utils._rebuild_tensor_v2
    # BUILD with (None, {"harm": 1}) sets that attribute.
    pickled = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x04\0\0\0harmK\x01s\x86b."
    path = legacy_file(tmp_path / "a.pth", content=pickled)
    with pytest.raises(InputError):
        read(path)
    assert not hasattr(function, "harm")
    torch.load(path, weights_only=False)
    assert function.harm == 1
    del function.harm


def test_a_torchscript_program_is_refused_without_being_loaded(tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.exit("a program was loaded"))
    with pytest.raises(InputError, match="TorchScript"):
        read(path)


def test_a_tar_archive_is_refused_without_being_opened(tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            archive.addfile(tarfile.TarInfo(name))
    opened = []
    monkeypatch.setattr(tarfile.TarFile, "extract", lambda *args, **_: opened.append(args))
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        read(path)
    assert not opened


# Files that are no checkpoints


def write_truncated(path, content, share, legacy):
    save(content, path, legacy)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


@pytest.mark.parametrize(
    ("write", "found", "fix"),
    [
        (lambda path: None, "No such file", "correct the path"),
        (lambda path: path.mkdir(), "Is a directory", "correct the path"),
        (lambda path: path.write_text("<html>Not found</html>"), "cannot be read", "delete it"),
        (lambda path: path.write_bytes(b""), "EOFError", "delete it"),
        (lambda path: write_truncated(path, WEIGHTS, 0.6, False), "cannot be read", "delete it"),
        (lambda path: write_truncated(path, WEIGHTS, 0.6, True), "cannot be read", "delete it"),
        (lambda path: write_truncated(path, WEIGHTS, 0.995, True), "cannot be read", "delete it"),
        (lambda path: save(nn.Conv2d(3, 2, 1), path, True), "cannot be read", "name another"),
        (lambda path: torch.save([1, 2], path), "found an object", "state_dict()"),
        (lambda path: torch.save(nn.Linear(2, 2), path), "found an object", "state_dict()"),
        (lambda path: torch.save({}, path), "found a dict of nothing", "state_dict()"),
        (
            lambda path: torch.save({"meta": 1, "net": WEIGHTS}, path),
            "found a dict of 'meta', 'net'",
            "state_dict()",
        ),
        (lambda path: torch.save({1: torch.zeros(1)}, path), "found a dict of 1", "state_dict()"),
    ],
    ids=[
        "missing",
        "folder",
        "text",
        "empty",
        "truncated zip",
        "truncated legacy file",
        "legacy file truncated at its end",
        "legacy network",
        "list",
        "network",
        "empty dict",
        "other keys",
        "numbers as names",
    ],
)
def test_a_file_that_is_not_a_checkpoint_is_refused(write, found, fix, tmp_path):
    path = tmp_path / "net-01234567.pth"
    write(path)
    with pytest.raises(InputError) as error:
        read(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    for part in (found, "expected a checkpoint", fix):
        assert part in message
    assert len(message.splitlines()) <= 3


# Pretrained weights


@pytest.fixture
def messages(caplog):
    """Logged messages, one string per record."""
    caplog.set_level(logging.INFO, logger="detmake")
    return lambda: [record.getMessage() for record in caplog.records]


def counted(weights, prefix=""):
    return sum(n.startswith(prefix) and not n.endswith("num_batches_tracked") for n in weights)


def test_a_detector_of_other_classes_provides_all_but_the_class_weights(
    source, own, messages, tmp_path
):
    path = save({"meta": {}, "state_dict": source.state_dict()}, tmp_path / "a.pth")
    detector = deepcopy(own)
    load_pretrained(detector, path, None)
    for name, value in detector.state_dict().items():
        of_classes = name.startswith("bbox_head.atss_cls")
        assert torch.equal(value, (own if of_classes else source).state_dict()[name]), name

    total = counted(own.state_dict())
    came, left = messages()
    assert came == (
        f"{path}: {total - 2} of the detector's {total} weights come from this file; "
        "initialized anew: bbox_head 2"
    )
    assert left == (
        "Left out of it: bbox_head.atss_cls (weight [80, 64, 3, 3], here [3, 64, 3, 3]; "
        "bias [80], here [3])"
    )


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_backbone_without_prefix_is_loaded(source, own, messages, tmp_path, legacy):
    classifier = {"classifier.weight": torch.zeros(10, 4), "classifier.bias": torch.zeros(10)}
    classifier["classifier.num_batches_tracked"] = torch.tensor(1)  # not reported
    weights = {**source.backbone.state_dict(), **classifier}
    path = save(weights, tmp_path / "a.pth", legacy)
    detector = deepcopy(own)
    load_pretrained(detector, path, None)
    for name, value in detector.state_dict().items():
        of = source if name.startswith("backbone.") else own
        assert torch.equal(value, of.state_dict()[name]), name

    state = own.state_dict()
    backbone, neck, head = (counted(state, part) for part in ("backbone", "neck", "bbox_head"))
    came, left = messages()
    assert f"{backbone} of the detector's {backbone + neck + head} weights" in came
    assert came.endswith(f"initialized anew: neck {neck}, bbox_head {head}")
    assert "backbone.classifier (weight [10, 4], not here; bias [10], not here)" in left


def test_a_classifier_provides_its_backbone(source, own, tmp_path):
    """In MMPretrain, names of the backbone have a prefix, and the head is another one."""
    weights = {f"backbone.{name}": value for name, value in source.backbone.state_dict().items()}
    path = save(
        {"state_dict": {**weights, "head.fc.weight": torch.zeros(9, 4)}}, tmp_path / "a.pth"
    )
    detector = deepcopy(own)
    load_pretrained(detector, path, None)
    assert_same(detector.backbone.state_dict(), source.backbone.state_dict())


def test_half_precision_weights_become_single_precision(source, own, tmp_path):
    half = {name: value.half() for name, value in source.backbone.state_dict().items()}
    detector = deepcopy(own)
    load_pretrained(detector, save(half, tmp_path / "a.pth"), None)
    found = detector.backbone.state_dict()["conv1.conv.weight"]
    assert found.dtype == torch.float32
    assert torch.equal(found, half["conv1.conv.weight"].float())


def test_nothing_is_reported_unused_if_all_weights_fit(own, messages, tmp_path):
    load_pretrained(deepcopy(own), save(own.state_dict(), tmp_path / "a.pth"), None)
    (came,) = messages()
    total = counted(own.state_dict())
    assert came.endswith(f"{total} of the detector's {total} weights come from this file")


def test_a_long_list_of_unused_weights_is_cut(source, own, messages, tmp_path):
    others = {f"head{i}.conv.{j}": torch.zeros(1) for i in range(9) for j in range(5)}
    path = save({**source.state_dict(), **others}, tmp_path / "a.pth")
    load_pretrained(deepcopy(own), path, None)
    _, left = messages()
    assert len(left.splitlines()) == 5
    assert "head0.conv (0 [1], not here; 1 [1], not here; ... and 3 more)" in left
    assert left.endswith("... and 6 more")  # 4 of 10 modules are named


def test_a_file_whose_weights_do_not_fit_the_backbone_is_refused(own, tmp_path):
    torchvision = {
        "features.0.0.weight": torch.zeros(32, 3, 3, 3),
        "features.0.1.num_batches_tracked": torch.tensor(1),
        "classifier.1.bias": torch.zeros(1000),
    }
    path = save(torchvision, tmp_path / "mobilenet.pth")
    with pytest.raises(InputError) as error:
        load_pretrained(deepcopy(own), path, None)
    message = str(error.value)
    for part in (
        str(path),
        "features.0.0.weight [32, 3, 3, 3]",
        "backbone.conv1.conv.weight [32, 3, 3, 3]",
        "`pretrained: null`",
    ):
        assert part in message


@pytest.mark.parametrize("prefix", ["backbone.", ""])
def test_a_file_that_fits_the_backbone_only_in_counters_is_refused(own, prefix, tmp_path):
    state = own.state_dict()
    weights = {
        f"{prefix}{name.removeprefix('backbone.')}": value
        for name, value in state.items()
        if name.startswith("backbone.") and name.endswith("num_batches_tracked")
    }
    if prefix:
        weights |= {name: value for name, value in state.items() if name.startswith("neck.")}
    with pytest.raises(InputError, match="none of its weights fits"):
        load_pretrained(deepcopy(own), save(weights, tmp_path / "a.pth"), None)


def test_a_file_without_a_backbone_is_refused(own, tmp_path):
    neck = {f"neck.{name}": value for name, value in own.neck.state_dict().items()}
    with pytest.raises(InputError, match=r"\nFound: neck\.lateral_convs"):
        load_pretrained(deepcopy(own), save(neck, tmp_path / "a.pth"), None)


# Order of channels


class Detector(nn.Module):
    """A backbone that takes BGR images."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone


def make_csp_darknet():
    backbone = {"type": "CSPDarknet", "deepen_factor": 0.33, "widen_factor": 0.125}
    return Detector(MODELS.build(backbone)).eval()


def outputs(detector, images):
    with torch.inference_mode():
        return detector.backbone(images)


@pytest.mark.parametrize("bgr_to_rgb", [False, True])
@pytest.mark.parametrize("channel_order", ["rgb", "bgr", None])
def test_channels_are_swapped_if_the_order_differs(source, bgr_to_rgb, channel_order, tmp_path):
    path = save(source.backbone.state_dict(), tmp_path / "a.pth")
    detector = atss(3, bgr_to_rgb=bgr_to_rgb).eval()
    load_pretrained(detector, path, channel_order)
    # Double precision, since sums are in another order.
    source, detector = deepcopy(source).double(), detector.double()
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    swapped = channel_order == ("bgr" if bgr_to_rgb else "rgb")
    expected = outputs(source, images[:, [2, 1, 0]] if swapped else images)
    for found, wanted in zip(outputs(detector, images), expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_channels_are_swapped_in_a_first_layer_that_stacks_pixels(tmp_path):
    torch.manual_seed(0)
    source, detector = make_csp_darknet(), make_csp_darknet()
    path = save(source.state_dict(), tmp_path / "a.pth")
    load_pretrained(detector, path, "rgb")
    images = torch.randn(2, 3, 64, 96)
    expected = outputs(source, images[:, [2, 1, 0]])
    for found, wanted in zip(outputs(detector, images), expected, strict=True):
        torch.testing.assert_close(found, wanted)
        assert wanted.std() > 0


def test_the_first_layer_is_not_swapped_if_the_file_lacks_it(source, own, tmp_path):
    weights = source.backbone.state_dict()
    del weights["conv1.conv.weight"]
    detector = deepcopy(own)
    load_pretrained(detector, save(weights, tmp_path / "a.pth"), "rgb")
    stem = "backbone.conv1.conv.weight"
    assert torch.equal(detector.state_dict()[stem], own.state_dict()[stem])


def test_a_backbone_whose_channels_cannot_be_swapped_is_refused(tmp_path):
    detector = Detector(nn.Sequential(nn.PixelUnshuffle(8), nn.Conv2d(192, 4, 1)))
    path = save(detector.state_dict(), tmp_path / "a.pth")
    load_pretrained(detector, path, "bgr")
    with pytest.raises(InputError) as error:
        load_pretrained(detector, path, "rgb")
    for part in (str(path), "RGB", "BGR", "bgr_to_rgb"):
        assert part in str(error.value)


# Finished weights


def test_the_weights_of_the_same_network_fit(own, tmp_path):
    weights = own.state_dict()
    require_fit(own, weights, tmp_path / "a.pth")
    old = {n: v for n, v in weights.items() if not n.endswith("num_batches_tracked")}
    require_fit(own, old, tmp_path / "a.pth")


def test_each_difference_is_named(own, tmp_path):
    path = tmp_path / "a.pth"
    weights = dict(own.state_dict())
    del weights["neck.lateral_convs.0.conv.bias"]
    weights["bbox_head.atss_cls.bias"] = torch.zeros(80)
    weights["extra.weight"] = torch.zeros(2)
    with pytest.raises(InputError) as error:
        require_fit(own, weights, path)
    lines = str(error.value).splitlines()
    assert lines[0].startswith(f"{path}: ")
    assert lines[1:4] == [
        "1 of another shape: bbox_head.atss_cls.bias [80] instead of [3]",
        "1 missing: neck.lateral_convs.0.conv.bias",
        "1 unexpected: extra.weight",
    ]
    assert "`weights`" in lines[4]


@pytest.mark.parametrize("kind", ["of another shape", "missing", "unexpected"])
def test_a_single_difference_of_any_kind_is_refused(own, kind, tmp_path):
    weights = dict(own.state_dict())
    name = "bbox_head.atss_reg.bias"
    value = weights.pop(name)
    if kind == "of another shape":
        weights[name] = value[None]
    if kind == "unexpected":
        weights |= {name: value, "another.num_batches_tracked": torch.tensor(1)}
    with pytest.raises(InputError, match=f"1 {kind}: ") as error:
        require_fit(own, weights, tmp_path / "a.pth")
    assert len(str(error.value).splitlines()) == 3


def test_a_long_list_of_differences_is_cut(own, tmp_path):
    with pytest.raises(InputError) as error:
        require_fit(own, make_csp_darknet().state_dict(), tmp_path / "a.pth")
    message = str(error.value)
    assert f"{counted(own.state_dict())} missing: backbone.conv1.conv.weight, " in message
    assert f"... and {counted(own.state_dict()) - 3} more" in message
    assert len(message.splitlines()) <= 8
    assert len(message) < 1500
