"""Snapshots of trained detectors: the file `weights.pth`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detmake.artifacts import staged
from detmake.errors import InputError
from detmake.model import device
from detmake.model.network import Core, CoreDetector, build_detector
from detmake.model.stem import merge_focus


@dataclass(frozen=True)
class Snapshot:
    """A trained detector with everything needed to rebuild and use it.

    Attributes:
        model: complete MMDetection `model` dict.
        labels: class names, in the order of the head's outputs.
        input_size: width and height in pixels that an image is resized to.
        confidence_threshold: the best threshold on the validation subset, in [0, 1].
        template: `id` and `name` of the template.
        state_dict: weights of the core by name.
        f_measure: F-measure on the validation subset at that threshold, in [0, 1]; nan until
            measured (`detmake.training.validation`).
        quantizers: description of the core's quantizers (`detmake.model.quantized_core`), or None.
        tiling: how images are cut (`Tiling.describe`), or None.
    """

    model: Mapping[str, Any]
    labels: Sequence[str]
    input_size: Sequence[int]
    confidence_threshold: float
    template: Mapping[str, str]
    state_dict: Mapping[str, Tensor]
    f_measure: float = math.nan
    quantizers: str | None = None
    tiling: Mapping[str, Any] | None = None

    def save(self, path: Path) -> None:
        """Write the snapshot as tensors and plain values, which `weights_only=True` can load."""
        content = asdict(self)
        if self.tiling is None:  # without tiles, the file is the same as before there were any
            del content["tiling"]
        with staged(path.parent) as scratch:
            torch.save(content, scratch / path.name)

    @classmethod
    def load(cls, path: Path) -> "Snapshot":
        """Read a snapshot onto the CPU.

        Raises:
            InputError: the file is not a snapshot of detmake.
        """
        try:
            return cls(**torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:
            raise InputError(
                f"{path}: expected a snapshot written by detmake, found a file that cannot be read "
                f"as one ({type(error).__name__}). Remove it to have the build train it again."
            ) from error

    def core(self) -> nn.Module:
        """Build the network core with weights and quantizers, on the CPU, in evaluation mode."""
        core = Core(build_detector(self.model))
        if not self.quantizers:
            core.load_state_dict(self.state_dict)
            merge_focus(core)
            return core.eval()
        from detmake.model import quantized_core  # needs NNCF, which other snapshots do not

        merge_focus(core)
        core = quantized_core.restore(core, self.quantizers)
        core.load_state_dict(self.state_dict)
        return core.eval()

    def detector(self) -> nn.Module:
        """Build the detector with its weights, on the chosen device, in evaluation mode."""
        detector = build_detector(self.model)
        if self.quantizers:
            detector = CoreDetector(detector, self.core())
        else:
            detector.load_state_dict(self.state_dict)
        return detector.to(device.name()).eval()
