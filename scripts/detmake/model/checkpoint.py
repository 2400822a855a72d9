"""Weights of checkpoints that others wrote, read without running any code of theirs."""

import io
import logging
import pickle
import textwrap
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from detmake.errors import InputError

log = logging.getLogger("detmake")

_PARTS = ("backbone.", "neck.", "bbox_head.")
_COUNTER = "num_batches_tracked"  # batch normalization's; old files lack it, inference ignores it
_STEM_CHANNELS = (3, 12)  # 12: YOLOX's Focus stacks the four pixels of each 2 × 2 block


class _Inert:
    """Stands for any object but a tensor: takes what a pickle does to it, and does nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> "_Inert":
        return self

    def _ignore(self, *args: Any) -> None:
        pass

    __setstate__ = __setitem__ = append = _ignore


# What a tensor of a state dict is rebuilt from; the classes of storages are torch.load's business.
# A pickle can set attributes of a function, but not of its __call__.
_REBUILDERS = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2.__call__,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter.__call__,
}


class _Unpickler(pickle.Unpickler):
    """Rebuilds tensors and plain values. It imports nothing and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        return _REBUILDERS.get((module, name), _Inert)


_PICKLE = SimpleNamespace(
    __name__="detmake.model.checkpoint",
    Unpickler=_Unpickler,
    load=lambda file, **options: _Unpickler(file, **options).load(),
)


def read(path: Path) -> dict[str, Tensor]:
    """Weights by name, on the CPU, from a file of `torch.save`.

    The file holds a state dict, or a dict with one under `state_dict` (MMEngine, MMDetection; where
    MMEngine averaged the weights, those are the averaged ones) or `model`. The prefix `module.`
    of data-parallel training is taken off. Nothing but tensors is rebuilt, so that no code runs
    that the file names.

    Raises:
        InputError: the file cannot be read, or holds no weights by name.
    """
    expected = "expected a checkpoint as MMDetection or torchvision publish it"
    try:
        file = io.BytesIO(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}; {expected}. Put one there, or correct the path."
        ) from error
    # torch.load gives TorchScript archives, which are programs, to torch.jit.load, after a warning.
    # (And tar archives, of before 2018, to a reader that unpacks them, but not from memory.)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*TorchScript archive")
            content = torch.load(
                file, map_location="cpu", pickle_module=_PICKLE, weights_only=False
            )
    except Exception as error:
        cause = textwrap.shorten(f"{type(error).__name__}: {error}".splitlines()[0], 200)
        raise InputError(
            f"{path}: found a file that does not read as a checkpoint ({cause}); {expected}.\n"
            "If it was downloaded, delete it, so that it is downloaded again; if not, name another."
        ) from error

    weights = _state_dict(content)
    if not weights:
        found = "an object"
        if isinstance(content, Mapping):
            found = f"a dict of {_listed(map(repr, content)) or 'nothing'}"
        raise InputError(
            f"{path}: found {found}, but no weights by name; {expected}.\n"
            "If you wrote the file, save the network's state_dict() instead."
        )
    if all(name.startswith("module.") for name in weights):
        weights = {name.removeprefix("module."): value for name, value in weights.items()}
    return weights


def load_pretrained(detector: nn.Module, path: Path, channel_order: str | None) -> None:
    """Copy the weights of a file that fit a detector by name and shape; log what came of it.

    Where no name begins with `backbone.`, `neck.` or `bbox_head.`, they are those of a backbone.

    Args:
        detector: an MMDetection detector; changed in place.
        path: a checkpoint, as for `read`.
        channel_order: `rgb` or `bgr`, what the weights were trained with: where the detector's
            preprocessor yields the other, the first convolution's input channels are swapped.
            None: as the detector's.

    Raises:
        InputError: as `read` raises it, or no weight fits the backbone, or the channels must be
            swapped and there is no convolution of images.
    """
    weights = read(path)
    if not any(name.startswith(_PARTS) for name in weights):
        weights = {f"backbone.{name}": value for name, value in weights.items()}
    own = detector.state_dict()
    fitting = {
        name: value
        for name, value in weights.items()
        if name in own and own[name].shape == value.shape
    }
    if not any(name.startswith("backbone.") for name in _counted(fitting)):
        backbone = [name for name in weights if name.startswith("backbone.")]
        raise InputError(
            f"{path}: none of its weights fits the detector's backbone by name and shape.\n"
            f"Found: {_listed(_shaped(weights, backbone or weights))}\n"
            f"Expected: {_listed(_shaped(own, (n for n in own if n.startswith('backbone.'))))}\n"
            "Name a checkpoint of this backbone under `pretrained`, as MMDetection publishes it, "
            "or set `pretrained: null` to train from scratch."
        )
    # A preprocessor gets images as they are decoded, in BGR.
    preprocessor = getattr(detector, "data_preprocessor", None)
    order = "rgb" if getattr(preprocessor, "_channel_conversion", False) else "bgr"
    if channel_order not in (None, order):
        name = _stem(detector.backbone)
        if name is None:
            raise InputError(
                f"{path}: its weights are for images in {channel_order.upper()}, the detector's "
                f"are in {order.upper()}, and its backbone has no convolution of 3 channels whose "
                "weights could be swapped.\nGive the detector's `data_preprocessor` in the "
                "template the order of the weights: `bgr_to_rgb`, `mean` and `std`."
            )
        if name in fitting:
            fitting[name] = fitting[name].unflatten(1, (-1, 3)).flip(2).flatten(1, 2)
    detector.load_state_dict(fitting, strict=False)
    _log_loaded(path, weights, own, fitting)


def require_fit(detector: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Check that weights are those of a detector: the same names, and the same shapes.

    Only batch normalization's `num_batches_tracked` may be missing, as old files lack it.

    Args:
        detector: an MMDetection detector.
        weights: weights by name, as `read` returns them.
        path: the file they are from, for the message.

    Raises:
        InputError: they are not; the message lists the differences.
    """
    own = detector.state_dict()
    differing = [
        f"{name} {list(weights[name].shape)} instead of {list(value.shape)}"
        for name, value in own.items()
        if name in weights and weights[name].shape != value.shape
    ]
    missing = [name for name in _counted(own) if name not in weights]
    unexpected = [name for name in weights if name not in own]
    differences = [
        f"{len(names)} {kind}: {_listed(names)}\n"
        for kind, names in (
            ("of another shape", differing),
            ("missing", missing),
            ("unexpected", unexpected),
        )
        if names
    ]
    if differences:
        raise InputError(
            f"{path}: found the weights of another network than the configuration's, which has "
            f"{len(own)}:\n{''.join(differences)}"
            "Expected is a network of the same template, backbone and number of classes. Correct "
            "these, or name another file under `weights`."
        )


def _state_dict(content: Any) -> dict[str, Tensor]:
    """The tensors by name in what a file holds."""
    if not isinstance(content, Mapping):
        return {}
    for candidate in (content.get("state_dict"), content.get("model"), content):
        if isinstance(candidate, Mapping):
            weights = {
                name: value.detach()
                for name, value in candidate.items()
                if isinstance(name, str) and isinstance(value, Tensor)
            }
            if weights:
                return weights
    return {}


def _stem(backbone: nn.Module) -> str | None:
    """Name in the detector of the weights that an image meets first."""
    for name, module in backbone.named_modules():
        if isinstance(module, nn.Conv2d) and module.in_channels in _STEM_CHANNELS:
            return f"backbone.{name}.weight"
    return None


def _log_loaded(
    path: Path,
    weights: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    fitting: Mapping[str, Tensor],
) -> None:
    """Log how much of the detector came from a file, and what of the file went unused."""
    anew: dict[str, int] = {}
    for name in _counted(own):
        if name not in fitting:
            part = name.partition(".")[0]
            anew[part] = anew.get(part, 0) + 1
    log.info(
        "%s: %d of the detector's %d weights come from this file%s",
        path,
        len(_counted(fitting)),
        len(_counted(own)),
        "; initialized anew: " + ", ".join(f"{part} {n}" for part, n in anew.items())
        if anew
        else "",
    )
    unused: dict[str, list[str]] = {}
    for name in _counted(weights):
        if name not in fitting:
            parts = name.split(".")
            module = parts[:-1][:2]
            here = f"here {list(own[name].shape)}" if name in own else "not here"
            unused.setdefault(".".join(module), []).append(
                f"{'.'.join(parts[len(module) :])} {list(weights[name].shape)}, {here}"
            )
    if unused:
        lines = [f"{module} ({_listed(names, 2, '; ')})" for module, names in unused.items()]
        log.info("Left out of it: %s", _listed(lines, 4, "\n  "))


def _counted(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.endswith(_COUNTER)]


def _shaped(weights: Mapping[str, Tensor], names: Iterable[str]) -> Iterable[str]:
    return (f"{name} {list(weights[name].shape)}" for name in names)


def _listed(items: Iterable[str], limit: int = 3, separator: str = ", ") -> str:
    """The first few of many."""
    items = list(items)
    more = [f"... and {len(items) - limit} more"] if len(items) > limit else []
    return separator.join(items[:limit] + more)
