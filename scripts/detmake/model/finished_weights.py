"""Finished weights that are used instead of training a detector."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
    model: Mapping[str, Any],
    input_size: Sequence[int],
    template: Mapping[str, str],
    train_coco: Mapping[str, Any],
) -> Snapshot:
    """Read a snapshot of detmake or an MMDetection checkpoint of the configured model.

    Args:
        path: the file.
        model: MMDetection `model` dict of the template.
        input_size: width and height in pixels, for a checkpoint.
        template: `id` and `name` of the template, for a checkpoint.
        train_coco: the prepared train subset, or its tiles. The model must have its classes.

    Returns:
        The snapshot, which cuts images as `train_coco` is cut. One of detmake keeps its input size,
        anchors and confidence threshold; a checkpoint has no threshold yet and gets 0.

    Raises:
        InputError: the weights belong to another model or to other classes.
    """
    labels = subsets.class_names(train_coco)
    tiling = train_coco["info"].get("tiling")
    try:
        snapshot = Snapshot.load(path)
    except InputError:  # it is a checkpoint, or `checkpoint.read` reports what is wrong
        weights = checkpoint.read(path)
        config = model_config(model, len(labels))
        detector = build_detector(config)
        checkpoint.require_fit(detector, weights, path)
        scale = config["bbox_head"].get("anchor_generator", {}).get("octave_base_scale")
        if scale is not None:
            log.info(
                "Anchors have the scale %g. If these weights were trained with another one, name "
                "it as octave_base_scale in a template of your own",
                scale,
            )
        return Snapshot(
            model=config,
            labels=labels,
            input_size=list(input_size),
            confidence_threshold=0.0,
            template=template,
            state_dict={**detector.state_dict(), **weights},
            tiling=tiling,
        )
    if list(snapshot.labels) != labels:
        raise InputError(
            f"{path}: found a snapshot with the classes {', '.join(snapshot.labels)}, expected "
            f"those of the train subset: {', '.join(labels)}. Set `data` to the dataset that it "
            "was trained on, or to one with the same classes in the same order."
        )
    sizes = subsets.box_sizes(train_coco, input_size)
    expected = build_detector(model_config(model, len(labels), sizes))
    checkpoint.require_fit(expected, snapshot.state_dict, path)
    name = snapshot.template["name"]
    log.info("Snapshot %s: %s, input %d×%d", path, name, *snapshot.input_size)
    if snapshot.tiling != tiling:
        log.info("It was trained with the tiling %s, and now has %s", snapshot.tiling, tiling)
    return replace(snapshot, tiling=tiling)
