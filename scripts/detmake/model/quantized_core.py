"""The network core with simulated int8 quantization, which can be trained and restored."""

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

# NNCF compiles its quantizers in C++ when they are first used, for up to a minute, after which it
# gives up and leaves a lock behind; on a GPU it needs nvcc. Its own fallback, plain torch, needs
# neither. It would be compiled too, again and again for each shape.
extensions.QuantizedFunctionsCPU._loaded_namespace = ReferenceQuantizedFunctions
if torch.cuda.is_available():
    extensions.QuantizedFunctionsCUDA._loaded_namespace = ReferenceQuantizedFunctions
torch.compiler.set_stance("force_eager")

nncf.set_log_level(logging.WARNING)


def initialize(
    core: nn.Module, images: Sequence[Path], batch: Callable[[Path], Tensor], preset: str
) -> nn.Module:
    """Put quantizers into a core, with ranges from calibration images.

    Args:
        core: a detector's core (`detmake.model.network.Core`) in evaluation mode.
        images: calibration images; all of them are used.
        batch: from an image file to the core's input, (1, 3, H, W) float, normalized.
        preset: `performance` (symmetric quantization) or `mixed` (asymmetric activations).

    Returns:
        The core with quantizers, whose parameters and ranges are trainable.
    """
    quantized = nncf.quantize(
        core,
        nncf.Dataset(images, batch),
        preset=nncf.QuantizationPreset(preset),
        subset_size=len(images),
    )
    return _with_constants(quantized)


def describe(core: nn.Module) -> str:
    """JSON text that tells which quantizers a core has, without their ranges (`restore`)."""
    return json.dumps(nncf.torch.get_config(core))


def restore(core: nn.Module, description: str) -> nn.Module:
    """Put the described quantizers into a core; its `state_dict` is to be loaded afterwards.

    Args:
        core: a core without quantizers.
        description: what `describe` returned.
    """
    return _with_constants(nncf.torch.load_from_config(core, json.loads(description)))


def _with_constants(core: nn.Module) -> nn.Module:
    """Make buffers of what NNCF declares as parameters that are not trained.

    MMEngine would warn of each of some hundred.
    """
    for module in core.modules():
        if isinstance(module, BaseQuantizer):
            for name, value in list(module.named_parameters(recurse=False)):
                if not value.requires_grad:
                    delattr(module, name)
                    module.register_buffer(name, value.detach())
    return core
