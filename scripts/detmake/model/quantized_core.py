"""The network core with simulated int8 quantization, to be trained, saved and restored."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import nncf
import nncf.torch
import torch
from nncf.torch.quantization import extensions
from nncf.torch.quantization.layers import BaseQuantizer
from nncf.torch.quantization.reference import ReferenceQuantizedFunctions
from torch import Tensor, nn

# NNCF compiles its quantizers in C++ on first use. After a minute it gives up and leaves a lock
# behind; on a GPU it needs nvcc. Its fallback in plain torch needs no compiler. "force_eager" stops
# torch from compiling that fallback for each shape.
extensions.QuantizedFunctionsCPU._loaded_namespace = ReferenceQuantizedFunctions
if torch.cuda.is_available():
    extensions.QuantizedFunctionsCUDA._loaded_namespace = ReferenceQuantizedFunctions
torch.compiler.set_stance("force_eager")

nncf.set_log_level(logging.WARNING)


def initialize(
    core: nn.Module, images: Sequence[Path], batch: Callable[[Path], Tensor], preset: str
) -> nn.Module:
    """Insert quantizers into a core, with ranges from calibration images.

    Args:
        core: a detector's core (`detmake.model.network.Core`) in evaluation mode.
        images: calibration images, all of which are used.
        batch: function from an image file to the core's input, (1, 3, H, W) float, normalized.
        preset: `performance` (symmetric quantization) or `mixed` (asymmetric activations).

    Returns:
        The core with quantizers, whose parameters and ranges are trainable.
    """
    data = nncf.Dataset(images, batch)
    kind = nncf.QuantizationPreset(preset)
    return _with_constants(nncf.quantize(core, data, preset=kind, subset_size=len(images)))


def describe(core: nn.Module) -> str:
    """Describe a core's quantizers, without their ranges, as JSON text for `restore`."""
    return json.dumps(nncf.torch.get_config(core))


def restore(core: nn.Module, description: str) -> nn.Module:
    """Insert the quantizers of `describe` into a core without any; load its `state_dict` then."""
    return _with_constants(nncf.torch.load_from_config(core, json.loads(description)))


def _with_constants(core: nn.Module) -> nn.Module:
    """Turn the parameters that NNCF does not train into buffers.

    MMEngine would log a warning for each of several hundred.
    """
    for module in core.modules():
        if isinstance(module, BaseQuantizer):
            for name, value in list(module.named_parameters(recurse=False)):
                if not value.requires_grad:
                    delattr(module, name)
                    module.register_buffer(name, value.detach())
    return core
