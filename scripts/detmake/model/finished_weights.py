"""Finished weights that are taken instead of training a detector."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detmake.data import subsets
from detmake.errors import InputError
from detmake.model import checkpoint
from detmake.model.network import build_detector, model_config
from detmake.model.snapshot import Snapshot

log = logging.getLogger("detmake")


def adopt(
    path: Path,
    settings: Mapping[str, Any],
    train_coco: Mapping[str, Any],
) -> Snapshot:
    """Read a snapshot of this project or an MMDetection checkpoint of the configured model.

    Args:
        path: the file.
        settings: `model`, `input_size`, `id` and `name` of an effective configuration
            (`detmake.build.configuration`).
        train_coco: the prepared train subset, whose classes are the model's.

    Returns:
        The snapshot. One of this project keeps its input size, its anchors and its threshold; a
        checkpoint has no threshold yet: it is 0.

    Raises:
        InputError: the weights are of another model or of other classes.
    """
    labels = subsets.class_names(train_coco)
    try:
        snapshot = Snapshot.load(path)
    except InputError:  # then it is a checkpoint, or `checkpoint.read` tells what is wrong
        weights = checkpoint.read(path)
        config = model_config(settings["model"], len(labels))
        detector = build_detector(config)
        checkpoint.require_fit(detector, weights, path)
        return Snapshot(
            model=config,
            labels=labels,
            input_size=list(settings["input_size"]),
            confidence_threshold=0.0,
            template={"id": settings["id"], "name": settings["name"]},
            state_dict={**detector.state_dict(), **weights},
        )
    if list(snapshot.labels) != labels:
        raise InputError(
            f"{path}: found a snapshot with the classes {', '.join(snapshot.labels)}, expected "
            f"those of the train subset: {', '.join(labels)}. Let `data` name the data set that "
            "it was trained on, or one with the same classes in the same order."
        )
    sizes = subsets.box_sizes(train_coco, settings["input_size"])
    expected = build_detector(model_config(settings["model"], len(labels), sizes))
    checkpoint.require_fit(expected, snapshot.state_dict, path)
    name, size = snapshot.template["name"], snapshot.input_size
    log.info("%s: a snapshot of %s, input %d×%d", path, name, *size)
    return snapshot
