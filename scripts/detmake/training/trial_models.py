"""Int8 models of a search's trials: made briefly for their latency, or as a build makes them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from detmake.model import ir
from detmake.model.snapshot import Snapshot
from detmake.quantization import post_training, recipes
from detmake.runtime import openvino_core
from detmake.runtime.model_folder import write_model_folder

#: Images that calibrate a model of which only the latency counts.
FEW = 4


def brief(
    snapshot: Snapshot, images: Sequence[Path], parameters: post_training.Parameters, folder: Path
) -> None:
    """Write an int8 model as fast as the one of a build, but not as accurate.

    Args:
        snapshot: the snapshot.
        images: calibration images; only a few are used.
        parameters: which recipes there are; the first one is used.
        folder: receives the model folder.
    """
    with TemporaryDirectory() as scratch:
        ir.export(snapshot, Path(scratch))
        model = openvino_core.core().read_model(Path(scratch, "openvino.xml"))
        description = json.loads(Path(scratch, "config.json").read_text(encoding="utf-8"))
        recipe = recipes.recipes(parameters.preset, parameters.target)[0]
        quantized = recipes.quantize(model, images[:FEW], recipe)
        write_model_folder(quantized, folder, description)


def full(
    snapshot: Snapshot,
    images: Sequence[Path],
    val_coco: Mapping[str, Any],
    parameters: post_training.Parameters,
    folder: Path,
    device: str,
) -> None:
    """Write an int8 model as a build does.

    Args:
        snapshot: the snapshot.
        images, val_coco, parameters, device: as for `post_training.quantize_folder`.
        folder: receives the model folder.

    Raises:
        InputError: as for `post_training.quantize_folder`.
    """
    with TemporaryDirectory() as scratch:
        ir.export(snapshot, Path(scratch))
        post_training.quantize_folder(Path(scratch), images, val_coco, parameters, folder, device)
