"""The known range of the image: no quantizer clips a value from 0 to 255."""

import nncf
import numpy as np
import openvino as ov
from nncf.common.quantization.structs import QuantizationScheme, QuantizerConfig, QuantizerGroup
from nncf.common.tensor_statistics.statistics import MinMaxTensorStatistic
from nncf.quantization.fake_quantize import calculate_quantizer_parameters
from nncf.tensor import Tensor
from openvino import opset9 as opset

from detmake.runtime.inference import compile_model

#: Operations that keep the order of values or select some: their extremes are those of black and
#: white images.
_MONOTONIC = {
    *("Add", "Concat", "Convert", "Divide", "FakeQuantize", "Gather", "Interpolate", "Multiply"),
    *("Reshape", "Slice", "Split", "Squeeze", "StridedSlice", "Subtract", "Transpose"),
    *("Unsqueeze", "VariadicSplit"),
}


def widen(model: ov.Model, preset: nncf.QuantizationPreset) -> None:
    """Let the quantizers of the image cover all values that its preprocessing can give them.

    Changes the model. NNCF calibrates these ranges like any other, so they would clip images that
    are brighter than those of the calibration subset.

    Args:
        model: a quantized detector with an input of (1, H, W, 3) uint8.
        preset: the preset that it was quantized with.
    """
    for quantizer in _image_quantizers(model):
        low, high = _extremes(model, quantizer)
        signed = preset == nncf.QuantizationPreset.PERFORMANCE
        mode = QuantizationScheme.SYMMETRIC if signed else QuantizationScheme.ASYMMETRIC
        shape = quantizer.input_value(1).get_shape()
        config = QuantizerConfig(mode=mode, per_channel=bool(shape))
        largest = np.maximum(np.abs(low), np.abs(high)) if signed else high
        statistic = MinMaxTensorStatistic(Tensor(low), Tensor(largest))
        found = calculate_quantizer_parameters(statistic, config, QuantizerGroup.ACTIVATIONS)
        ends = (found.input_low, found.input_high, found.output_low, found.output_high)
        for port, end in enumerate(ends, start=1):
            constant = opset.constant(end.data.reshape(shape), ov.Type.f32)
            quantizer.input(port).replace_source_output(constant.output(0))


def _image_quantizers(model: ov.Model) -> list[ov.Node]:
    """Return the quantizers that only preprocessing separates from the image, in order."""
    known = set(model.get_parameters())
    found = []
    for node in model.get_ordered_ops():
        given = [value.get_node() in known for value in node.input_values()]
        if node.get_type_name() not in _MONOTONIC or not any(given):
            continue
        # The product of two values of the image, for example, need not be monotonic.
        if sum(given) > 1 and node.get_type_name() != "Concat":
            continue
        known.add(node)
        if node.get_type_name() == "FakeQuantize":
            found.append(node)
    return found


def _extremes(model: ov.Model, quantizer: ov.Node) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and greatest values that a quantizer can be given.

    Each has the shape of the quantizer's range.
    """
    value = quantizer.input_value(0)
    preprocessing = compile_model(ov.Model([value], model.get_parameters()))
    shape = [side.get_length() if side.is_static else 8 for side in model.input().partial_shape]
    black, white = (
        preprocessing(np.full(shape, level, model.input().element_type.to_dtype()))[0]
        for level in (0, 255)
    )
    both = np.stack([black, white])
    ends = quantizer.input_value(1).get_shape()
    shared = tuple(axis for axis in range(1, both.ndim) if not ends or ends[axis - both.ndim] == 1)
    axes = (0, *shared)
    return both.min(axis=axes).reshape(ends), both.max(axis=axes).reshape(ends)
