"""A model in memory, measured on the validation subset before it is written."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import openvino as ov

from detmake.evaluation.matching import evaluate_subset
from detmake.evaluation.metrics import Evaluation
from detmake.runtime import inference, tiled
from detmake.tiling import Tiling


def evaluate(
    model: ov.Model, coco: Mapping[str, Any], tiling: Tiling | None, device: str = "CPU"
) -> Evaluation:
    """Detect in a prepared subset.

    Args:
        model: an exported model, quantized or not (`detmake.model.ir.convert`).
        coco: the subset.
        tiling: how the model cuts images; None leaves them whole.
        device: the device of OpenVINO that runs it.
    """
    whole = partial(inference.detect, inference.compile_model(model, device=device))
    return evaluate_subset(partial(tiled.detect, whole, tiling=tiling), coco, "accuracy")
