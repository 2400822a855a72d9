"""Model folders: an IR with its metadata, and the files beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openvino as ov

from detmake.artifacts import (
    MODEL_FILES,
    staged,
    write_confidence_threshold,
    write_json,
    write_label_schema,
)


def write_model_folder(model: ov.Model, folder: Path, description: Mapping[str, Any]) -> None:
    """Write a model folder, all of it or nothing, with weights in half precision.

    Args:
        model: a detector as `detmake.model.ir.convert` describes it.
        folder: receives the files named in `detmake.artifacts.MODEL_FILES`.
        description: content of `config.json`: `template`, `labels`, `input_size` (width, height),
            `confidence_threshold`, `iou_threshold`; of a model that looks at tiles, `tiling`
            (`detmake.tiling`); of a quantized model, `quantization`: by which method, and its
            F-measure on the validation subset beside the original one.
    """
    for key, value in _model_api_metadata(description).items():
        model.set_rt_info(value, ["model_info", key])
    with staged(folder) as scratch:
        ov.save_model(model, scratch / MODEL_FILES["xml"], compress_to_fp16=True)
        write_json(scratch / MODEL_FILES["config"], dict(description))
        write_label_schema(scratch / MODEL_FILES["label_schema"], description["labels"])
        write_confidence_threshold(
            scratch / MODEL_FILES["confidence_threshold"], description["confidence_threshold"]
        )


def _model_api_metadata(description: Mapping[str, Any]) -> dict[str, str]:
    """Return the metadata that OpenVINO Model API reads from an IR; spaces separate its lists."""
    width, height = description["input_size"]
    return {
        "model_type": "ssd",
        "task_type": "detection",
        "labels": " ".join(label.replace(" ", "_") for label in description["labels"]),
        "confidence_threshold": str(description["confidence_threshold"]),
        "iou_threshold": str(description["iou_threshold"]),
        # The graph does all preprocessing; Model API scales normalized boxes by the sizes.
        "embedded_processing": "True",
        "resize_type": "standard",
        "orig_width": str(width),
        "orig_height": str(height),
        "model_name": description["template"]["name"],
    }
