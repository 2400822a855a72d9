"""Post-training quantization of an exported model with NNCF."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import nncf
import numpy as np
import openvino as ov

from detmake.inference import read_image
from detmake.model_folder import write_model_folder


def quantize(model: ov.Model, images: Sequence[Path], preset: str) -> ov.Model:
    """An int8 model from a floating-point one and calibration images.

    Only the network's core is quantized: decoding, NMS and preprocessing stay in floating point.

    Args:
        model: a detector as `detmake.ir.convert` describes it.
        images: calibration images; all of them are used.
        preset: `performance` (symmetric quantization) or `mixed` (asymmetric activations).
    """
    nncf.set_log_level(logging.WARNING)  # not every node that stays in floating point

    def tensor(path: Path) -> np.ndarray:
        return read_image(path)[np.newaxis]

    return nncf.quantize(
        model,
        nncf.Dataset(images, tensor),
        preset=nncf.QuantizationPreset(preset),
        subset_size=len(images),
        ignored_scope=nncf.IgnoredScope(patterns=[".*decoder.*"], validate=False),
    )


def quantize_folder(source: Path, images: Sequence[Path], preset: str, folder: Path) -> None:
    """Quantize the model of one model folder into another (`detmake.model_folder`)."""
    description = json.loads((source / "config.json").read_text(encoding="utf-8"))
    model = quantize(ov.Core().read_model(source / "openvino.xml"), images, preset)
    write_model_folder(model, folder, description)


def calibration_subset(images: Sequence[Path], size: int) -> list[Path]:
    """At most `size` images, spread evenly over the sequence."""
    step = max(len(images) / size, 1.0)
    return [images[int(i * step)] for i in range(min(size, len(images)))]
