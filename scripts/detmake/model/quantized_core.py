"""The network core with simulated int8 quantization, to be trained, saved and restored."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import nncf
import nncf.torch
import torch
from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
from nncf.quantization.range_estimator import (
    RangeEstimatorParameters,
    RangeEstimatorParametersSet,
)
from nncf.torch.quantization import extensions
from nncf.torch.quantization.layers import BaseQuantizer, SymmetricQuantizer
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

#: How the initial range of an activation follows from calibration images, by name.
RANGES = {
    "default": RangeEstimatorParameters(),
    "min-max": RangeEstimatorParametersSet.MINMAX,
}


def initialize(
    core: nn.Module,
    images: Sequence[Path],
    batch: Callable[[Path], Tensor],
    preset: str,
    ranges: str,
    input_range: tuple[float, float],
) -> nn.Module:
    """Insert quantizers into a core, with ranges from calibration images.

    Args:
        core: a detector's core (`detmake.model.network.Core`) in evaluation mode.
        images: calibration images, all of which are used.
        batch: function from an image file to the core's input, (1, 3, H, W) float, normalized.
        preset: `performance` (symmetric quantization) or `mixed` (asymmetric activations).
        ranges: a key of `RANGES`.
        input_range: the least and greatest value of any input. No quantizer clips it.

    Returns:
        The core with quantizers, whose parameters and ranges are trainable.
    """
    quantized = nncf.quantize(
        core,
        nncf.Dataset(images, batch),
        preset=nncf.QuantizationPreset(preset),
        subset_size=len(images),
        advanced_parameters=AdvancedQuantizationParameters(
            activations_range_estimator_params=RANGES[ranges]
        ),
    )
    _widen(quantized, batch(images[0]), *input_range)
    return _with_constants(quantized)


@torch.no_grad()
def _widen(core: nn.Module, image: Tensor, low: float, high: float) -> None:
    """Let the quantizers of a core's input cover all its values."""
    # All its values differ, so a quantizer that reads only such values reads the input.
    values = torch.linspace(low, high, image.numel(), device=image.device)
    image = values.reshape(image.shape)

    def widen(quantizer: BaseQuantizer, inputs: tuple[Tensor, ...]) -> None:
        if not torch.isin(inputs[0], image).all():
            return
        if isinstance(quantizer, SymmetricQuantizer):
            quantizer.signed = low < 0
            quantizer.scale.fill_(max(-low, high))
        else:
            quantizer.input_low.fill_(low)
            quantizer.input_range.fill_(high - low)

    quantizers = [module for module in core.modules() if isinstance(module, BaseQuantizer)]
    hooks = [quantizer.register_forward_pre_hook(widen) for quantizer in quantizers]
    core(image)
    for hook in hooks:
        hook.remove()


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
