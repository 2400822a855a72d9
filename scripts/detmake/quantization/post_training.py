"""Post-training quantization of an exported model with NNCF, within an accuracy budget."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import openvino as ov
from tqdm import tqdm

from detmake.evaluation.matching import evaluate_subset
from detmake.quantization.budget import Budget
from detmake.runtime import inference
from detmake.runtime.images import read_image
from detmake.runtime.model_folder import write_model_folder

log = logging.getLogger("detmake")

nncf.set_log_level(logging.WARNING)  # do not list every node that stays in floating point


@dataclass(frozen=True)
class Parameters:
    """Settings of post-training quantization: the section `pot_parameters`.

    Attributes:
        preset: `performance` (symmetric quantization) or `mixed` (asymmetric activations).
        stat_subset_size: the number of calibration images, at most.
        maximal_accuracy_degradation: the largest drop of F-measure on the validation subset, in
            points: 1.0 is 0.01.
        on_degradation: `fail` or `warn` if the drop is larger.
    """

    preset: str
    stat_subset_size: int
    maximal_accuracy_degradation: float
    on_degradation: str


def quantize(model: ov.Model, images: Sequence[Path], preset: str) -> ov.Model:
    """Quantize a floating-point model to int8.

    Args:
        model: a detector as `detmake.model.ir.convert` describes it.
        images: calibration images; all of them are used.
        preset: as in `Parameters`.
    """
    return nncf.quantize(model, **_options(images, preset))


def quantize_folder(
    source: Path,
    images: Sequence[Path],
    val_coco: Mapping[str, Any],
    parameters: Parameters,
    folder: Path,
) -> None:
    """Quantize a model folder into another one (`detmake.runtime.model_folder`).

    If the int8 model exceeds the budget, the layers that cost most accuracy return to floating
    point until it is within the budget.

    Args:
        source: folder of the floating-point model.
        images: calibration images.
        val_coco: the prepared validation subset, on which accuracy is measured.
        parameters: the settings.
        folder: receives the int8 model; `quantization` in its `config.json` says how it was made.

    Raises:
        InputError: the floating-point model finds nothing; or the int8 model exceeds the budget and
            `on_degradation` is `fail`.
    """
    description = json.loads((source / "config.json").read_text(encoding="utf-8"))
    model = ov.Core().read_model(source / "openvino.xml")
    budget = Budget(f_measure(model, val_coco), parameters.maximal_accuracy_degradation)
    quantized = quantize(model, images, parameters.preset)
    measured = f_measure(quantized, val_coco)
    log.info("After quantization: %s", budget.report(measured))
    method, returned = "post-training quantization", []
    if not budget.allows(measured):
        log.warning("Budget exceeded: returning layers to floating point, the worst first")
        in_int8 = _quantized_layers(quantized)
        quantized = _quantize_with_accuracy_control(model, images, val_coco, parameters)
        measured = f_measure(quantized, val_coco)
        log.info("After accuracy control: %s", budget.report(measured))
        returned = sorted(in_int8 - _quantized_layers(quantized))
        log.info("Returned %d layers to floating point: %s", len(returned), ", ".join(returned))
        method += " with accuracy control"
    budget.enforce(measured, parameters.on_degradation, "pot_parameters")
    result = {"method": method, "reverted_layers": len(returned), **budget.describe(measured)}
    write_model_folder(quantized, folder, {**description, "quantization": result})


def f_measure(
    model: ov.Model | ov.CompiledModel, coco: Mapping[str, Any], progress: str | None = "accuracy"
) -> float:
    """Return a model's F-measure on a subset at its best confidence threshold, in [0, 1]."""
    if isinstance(model, ov.Model):
        model = inference.compile_model(model)
    evaluation = evaluate_subset(partial(inference.detect, model), coco, progress)
    return evaluation.counts(evaluation.best_confidence_threshold()).f_measure


def _quantize_with_accuracy_control(
    model: ov.Model, images: Sequence[Path], val_coco: Mapping[str, Any], parameters: Parameters
) -> ov.Model:
    """Quantize all layers except those that have to stay in floating point for the budget."""
    progress = tqdm(desc="accuracy control", unit="model", mininterval=2)

    def validate(compiled: ov.CompiledModel, chosen: Iterable[int]) -> float:
        progress.update()
        # NNCF ranks layers on parts of the validation subset.
        entries = [val_coco["images"][position] for position in chosen]
        ids = {image["id"] for image in entries}
        annotations = [a for a in val_coco["annotations"] if a["image_id"] in ids]
        part = {**val_coco, "images": entries, "annotations": annotations}
        return f_measure(compiled, part, progress=None)

    with progress:
        return nncf.quantize_with_accuracy_control(
            model,
            validation_dataset=nncf.Dataset(range(len(val_coco["images"]))),
            validation_fn=validate,
            max_drop=parameters.maximal_accuracy_degradation / 100,
            drop_type=nncf.DropType.ABSOLUTE,
            **_options(images, parameters.preset),
        )


def _options(images: Sequence[Path], preset: str) -> dict[str, Any]:
    return {
        "calibration_dataset": nncf.Dataset(images, lambda path: read_image(path)[np.newaxis]),
        "preset": nncf.QuantizationPreset(preset),
        "subset_size": len(images),
        # Quantize the network's core only: preprocessing, decoding and NMS stay in floating point.
        "ignored_scope": nncf.IgnoredScope(patterns=[".*decoder.*"], validate=False),
    }


def _quantized_layers(model: ov.Model) -> set[str]:
    """Return the names of the int8 layers: those that read the output of a FakeQuantize."""
    return {
        reader.get_node().get_friendly_name()
        for node in model.get_ops()
        if node.get_type_name() == "FakeQuantize"
        for reader in node.output(0).get_target_inputs()
        if reader.get_node().get_type_name() != "ShapeOf"
    }
