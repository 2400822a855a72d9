"""Read weights from checkpoints of others without running code from the file."""

import io
import logging
import pickle
import textwrap
import warnings
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from detmake.errors import InputError

log = logging.getLogger("detmake")

_PARTS = ("backbone.", "neck.", "bbox_head.")
_COUNTER = "num_batches_tracked"  # of batch normalization; old files lack it, inference ignores it
_STEM_CHANNELS = (3, 12)  # 12: YOLOX's Focus stacks the four pixels of each 2 × 2 block


class _Inert:
    """Replaces any object but tensors: accepts a pickle's operations and does nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> "_Inert":
        return self

    def _ignore(self, *args: Any) -> None:
        pass

    __setstate__ = __setitem__ = append = _ignore


# Callables that rebuild the tensors of a state dict; torch.load itself handles storage classes.
# A pickle can set attributes on a function but not on its __call__.
_REBUILDERS = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2.__call__,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter.__call__,
}


class _Unpickler(pickle.Unpickler):
    """Rebuilds tensors and plain values; imports nothing and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        return _REBUILDERS.get((module, name), _Inert)


_PICKLE = SimpleNamespace(
    __name__="detmake.model.checkpoint",
    Unpickler=_Unpickler,
    load=lambda file, **options: _Unpickler(file, **options).load(),
)


def read(path: Path) -> dict[str, Tensor]:
    """Read weights by name onto the CPU from a file that `torch.save` wrote.

    The file holds a state dict, or a dict with one under `state_dict` (MMEngine, MMDetection; the
    averaged weights if MMEngine averaged them) or `model`. The prefix `module.` of data-parallel
    training is removed. Only tensors are rebuilt, so no code that the file names can run.

    Raises:
        InputError: the file cannot be read or holds no weights by name.
    """
    expected = "expected a checkpoint in the format of MMDetection or torchvision"
    try:
        file = io.BytesIO(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}; {expected}. Put one there or correct the path."
        ) from error
    # torch.load warns and then passes TorchScript archives, which are programs, to torch.jit.load.
    # It unpacks tar archives (before 2018) too, but only from files, not from memory.
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*TorchScript archive")
            content = torch.load(file, "cpu", _PICKLE, weights_only=False)
    except Exception as error:
        cause = textwrap.shorten(f"{type(error).__name__}: {error}".splitlines()[0], 200)
        raise InputError(
            f"{path}: found a file that cannot be read as a checkpoint ({cause}); {expected}.\n"
            "If it was downloaded, delete it to download it again; otherwise name another file."
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
    """Copy the weights that fit a detector by name and shape, and log which ones do not.

    If no name starts with `backbone.`, `neck.` or `bbox_head.`, they are those of a backbone.

    Args:
        detector: an MMDetection detector; changed in place.
        path: a checkpoint, as for `read`.
        channel_order: `rgb` or `bgr`, which the weights were trained with. If the detector's
            preprocessor yields the other, the first convolution's input channels are swapped.
            None: the detector's order.

    Raises:
        InputError: the file cannot be read, no weight fits the backbone, or the channels must be
            swapped but the backbone has no convolution of images.
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
            "Set `pretrained` to a checkpoint of this backbone in MMDetection's format, or set "
            "`pretrained: null` to train from scratch."
        )
    # A preprocessor gets decoded images, which are in BGR.
    preprocessor = getattr(detector, "data_preprocessor", None)
    order = "rgb" if getattr(preprocessor, "_channel_conversion", False) else "bgr"
    if channel_order not in (None, order):
        stems = (
            f"backbone.{name}.weight"
            for name, module in detector.backbone.named_modules()
            if isinstance(module, nn.Conv2d) and module.in_channels in _STEM_CHANNELS
        )
        stem = next(stems, None)
        if stem is None:
            raise InputError(
                f"{path}: its weights are for images in {channel_order.upper()}, the detector's "
                f"are in {order.upper()}, and its backbone has no convolution of 3 channels whose "
                "weights could be swapped.\nGive the detector's `data_preprocessor` in the "
                "template the order of the weights: `bgr_to_rgb`, `mean` and `std`."
            )
        if stem in fitting:
            fitting[stem] = fitting[stem].unflatten(1, (-1, 3)).flip(2).flatten(1, 2)
    detector.load_state_dict(fitting, strict=False)
    _log_loaded(path, weights, own, fitting)


def require_fit(detector: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Check that weights (as of `read`) have the names and shapes of a detector's weights.

    Only batch normalization's `num_batches_tracked` may be missing, because old files lack it.

    Raises:
        InputError: they differ; the message lists the differences and names the weights' file.
    """
    own = detector.state_dict()
    differing = [
        f"{name} {list(weights[name].shape)} instead of {list(value.shape)}"
        for name, value in own.items()
        if name in weights and weights[name].shape != value.shape
    ]
    differences = {
        "of another shape": differing,
        "missing": [name for name in _counted(own) if name not in weights],
        "unexpected": [name for name in weights if name not in own],
    }
    if any(differences.values()):
        lines = [f"{len(n)} {kind}: {_listed(n)}\n" for kind, n in differences.items() if n]
        raise InputError(
            f"{path}: found weights of another network than the configured one, which has "
            f"{len(own)}:\n{''.join(lines)}"
            "Expected the same template, backbone and number of classes. Correct these or set "
            "`weights` to another file."
        )


def _state_dict(content: Any) -> dict[str, Tensor]:
    """The tensors by name in the content of a file."""
    if not isinstance(content, Mapping):
        return {}
    for candidate in (content.get("state_dict"), content.get("model"), content):
        items = candidate.items() if isinstance(candidate, Mapping) else ()
        tensors = {name: value.detach() for name, value in items if isinstance(value, Tensor)}
        if weights := {name: value for name, value in tensors.items() if isinstance(name, str)}:
            return weights
    return {}


def _log_loaded(
    path: Path, weights: dict[str, Tensor], own: dict[str, Tensor], fitting: dict[str, Tensor]
) -> None:
    """Log how many weights came from a file and which of its weights were not used."""
    used, total = len(_counted(fitting)), len(_counted(own))
    anew = Counter(name.partition(".")[0] for name in _counted(own) if name not in fitting)
    rest = "; initialized anew: " + ", ".join(f"{part} {n}" for part, n in anew.items())
    message = f"{used} of the detector's {total} weights come from this file"
    log.info("%s: %s%s", path, message, rest if anew else "")
    unused = defaultdict(list)
    for name in _counted(weights):
        if name not in fitting:
            parts = name.split(".")
            module = parts[:-1][:2]
            here = f"here {list(own[name].shape)}" if name in own else "not here"
            weight = f"{'.'.join(parts[len(module) :])} {list(weights[name].shape)}, {here}"
            unused[".".join(module)].append(weight)
    if unused:
        lines = [f"{module} ({_listed(names, 2, '; ')})" for module, names in unused.items()]
        log.info("Left out of it: %s", _listed(lines, 4, "\n  "))


def _counted(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.endswith(_COUNTER)]


def _shaped(weights: Mapping[str, Tensor], names: Iterable[str]) -> Iterable[str]:
    return (f"{name} {list(weights[name].shape)}" for name in names)


def _listed(items: Iterable[str], limit: int = 3, separator: str = ", ") -> str:
    """Join the first few items and say how many more there are."""
    items = list(items)
    more = [f"... and {len(items) - limit} more"] if len(items) > limit else []
    return separator.join(items[:limit] + more)
