"""The layers of an int8 model, ordered by what their quantization does to the model's outputs."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import openvino as ov
from nncf.openvino.graph.metatypes.groups import QUANTIZE_AGNOSTIC_OPERATIONS
from openvino import opset9 as opset
from tqdm import tqdm

from detmake.runtime.inference import compile_model

#: Operations that pass quantized values on, so that a quantizer may stand before them.
_TRANSPARENT = {
    "Concat",
    *(name for metatype in QUANTIZE_AGNOSTIC_OPERATIONS for name in metatype.op_names),
}


def noisiest_first(
    original: ov.Model, quantized: ov.Model, images: Iterable[np.ndarray]
) -> list[str]:
    """Return the names of a model's int8 layers, those first that disturb its outputs most.

    The noise of a layer is the inverse of a signal-to-noise ratio, summed over the outputs: of what
    changes if only the quantizers of this layer act (of its weights, and of what it reads). Outputs
    are the boxes and scores before NMS, or those of a model without NMS.

    Args:
        original: the floating-point model.
        quantized: what `detmake.quantization.recipes.quantize` made of it.
        images: images to measure on, each (H, W, 3) uint8, BGR.
    """
    model, quantizers = _with_switches(original, quantized)
    compiled = compile_model(model)
    off = np.zeros(1 + max(max(chosen) for chosen in quantizers.values()), np.float32)
    signal = np.zeros(len(model.outputs))
    noise = {layer: np.zeros_like(signal) for layer in quantizers}
    progress = tqdm(images, "order of layers", unit="image", mininterval=2)
    for image in (image[np.newaxis] for image in progress):
        exact = list(compiled((image, off)).values())
        signal += _energies(exact)
        for layer, chosen in quantizers.items():
            on = off.copy()
            on[chosen] = 1
            values = compiled((image, on)).values()
            noise[layer] += _energies(a - b for a, b in zip(values, exact, strict=True))
    signal = np.maximum(signal, np.finfo(float).tiny)
    return sorted(quantizers, key=lambda layer: (-np.sum(noise[layer] / signal), layer))


def _energies(values: Iterable[np.ndarray]) -> np.ndarray:
    """Return the sum of squares of each array."""
    return np.array([np.square(value, dtype=np.float64).sum() for value in values])


def fewest(suffices: Callable[[int], bool], total: int, attempts: int) -> int:
    """Return the least number of layers that suffices, as far as it is found.

    A bisection of the logarithm, since few layers suffice mostly.

    Args:
        suffices: returns whether a number of layers does; called for 1 to `total` - 1.
        total: a number that suffices.
        attempts: the number of calls, at most.
    """
    too_few, enough = 0, total
    while enough - too_few > 1 and attempts > 0:
        attempts -= 1
        count = round(math.sqrt(max(too_few, 1) * enough))
        if suffices(count):
            enough = count
        else:
            too_few = count
    return enough


def _with_switches(
    original: ov.Model, quantized: ov.Model
) -> tuple[ov.Model, dict[str, list[int]]]:
    """Return a copy of a quantized model whose quantizers can be switched on one by one.

    Returns:
        The model, with a second input: one number for each quantizer, 1 (on) or 0 (off). And the
        numbers of the quantizers of each layer, by the layer's name.
    """
    model = quantized.clone()
    nodes = model.get_ordered_ops()
    activations = [node for node in nodes if node.get_type_name() == "FakeQuantize"]
    weights = [node for node in nodes if "/fq_weights_" in node.get_friendly_name()]
    exact = [node.input_value(0) for node in activations] + _weights(original, weights)
    switches = opset.parameter([-1], ov.Type.f32, name="switches")
    layers: dict[str, list[int]] = {}
    for position, (node, value) in enumerate(zip(activations + weights, exact, strict=True)):
        for layer in set(_layers_after(node)):
            layers.setdefault(layer, []).append(position)
        readers = node.output(0).get_target_inputs()
        ones = np.ones(len(node.get_output_partial_shape(0)), np.int64)
        switch = opset.gather(switches, np.int64([position]), np.int64(0))
        switch = opset.reshape(switch, ones, special_zero=False)
        switched = opset.add(value, opset.multiply(opset.subtract(node, value), switch))
        for reader in readers:
            reader.replace_source_output(switched.output(0))
    suppressions = [node for node in nodes if node.get_type_name() == "MulticlassNms"]
    outputs = [value for node in suppressions for value in node.input_values()[:2]]
    outputs = outputs or [result.input_value(0) for result in model.get_results()]
    return ov.Model(outputs, [*model.get_parameters(), switches]), layers


def _weights(original: ov.Model, quantized: Sequence[ov.Node]) -> list[ov.Output]:
    """Return the floating-point weights that quantized ones were made from, as constants."""
    layers = {node.get_friendly_name(): node for node in original.get_ops()}
    readers = [min(node.output(0).get_target_inputs(), key=_name) for node in quantized]
    values = [layers[_name(reader)].input_value(reader.get_index()) for reader in readers]
    found = compile_model(ov.Model(values, []))([])
    return [opset.constant(found[place], ov.Type.f32).output(0) for place in range(len(values))]


def _name(reader: ov.Input) -> str:
    """Return the name of the layer that reads a value."""
    return reader.get_node().get_friendly_name()


def _layers_after(node: ov.Node) -> Iterator[str]:
    """Yield the names of the layers that read a quantizer's values."""
    for reader in node.output(0).get_target_inputs():
        after = reader.get_node()
        if after.get_type_name() in _TRANSPARENT:
            yield from _layers_after(after)
        elif after.get_type_name() not in ("ShapeOf", "Result"):
            yield after.get_friendly_name()
