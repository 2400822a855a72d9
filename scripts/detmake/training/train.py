"""Training of a detector from a prepared dataset, resumable, on a GPU or on the CPU."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from detmake import csv_text
from detmake.artifacts import write_confidence_threshold, write_label_schema, write_text
from detmake.data import subsets
from detmake.evaluation.metrics import Evaluation
from detmake.model import checkpoint
from detmake.model.network import build_detector, model_config
from detmake.model.snapshot import Snapshot
from detmake.training import resume
from detmake.training.process import fit_in_processes
from detmake.training.recipe import Recipe
from detmake.training.runner import fit, quiet_mmengine
from detmake.training.schedule import build_schedule
from detmake.training.validation import with_best_threshold

log = logging.getLogger("detmake")


@dataclass(frozen=True)
class TrainingResult:
    """A snapshot of the best epoch and how it was reached.

    Attributes:
        snapshot: weights of the epoch with the highest F-measure on the validation subset.
        evaluation: its detections on the validation subset, matched.
        scalars: a row for each logged step: learning rate, losses, validation metrics.
    """

    snapshot: Snapshot
    evaluation: Evaluation
    scalars: pd.DataFrame

    def write(self, folder: Path) -> None:
        """Write the snapshot and the files beside it: classes, threshold and tables."""
        snapshot = self.snapshot
        write_label_schema(folder / "label_schema.json", snapshot.labels)
        write_confidence_threshold(folder / "confidence_threshold", snapshot.confidence_threshold)
        write_text(folder / "scalars.csv", self.scalars.to_csv(index=False))
        write_text(folder / "per_class.csv", csv_text.of_table(self.evaluation.per_class()))
        snapshot.save(folder / "weights.pth")


def new_detector(recipe: Recipe, train_coco: Mapping[str, Any]) -> tuple[dict[str, Any], nn.Module]:
    """Build the detector of a recipe with the initial weights of its seed.

    Args:
        recipe: the model, and the seed.
        train_coco: the prepared train subset, for the classes and the anchors.

    Returns:
        Its complete `model` dict (`model_config`), and the detector.

    Raises:
        InputError: the model cannot be built.
    """
    sizes = subsets.box_sizes(train_coco, recipe.input_size)
    config = model_config(recipe.model, len(subsets.class_names(train_coco)), sizes)
    quiet_mmengine()
    torch.manual_seed(recipe.learning_parameters.seed)
    detector = build_detector(config)
    detector.init_weights()
    return config, detector


def train(
    recipe: Recipe,
    train_file: Path,
    val_file: Path,
    checkpoints: Path,
    num_workers: int | str = 0,
    pretrained: Path | None = None,
    processes: int = 1,
) -> TrainingResult:
    """Train a detector, resuming from the last checkpoint of an interrupted training.

    Several processes share each batch and average their gradients (`training.distributed`), so the
    learning parameters mean the same for any number of them.

    Args:
        recipe: the model and how to train it.
        train_file: prepared annotations of the train subset (`detmake.data.checking`), or of its
            tiles (`detmake.data.tiles`): the snapshot then cuts images in the same way.
        val_file: prepared annotations of the validation subset.
        checkpoints: folder for all that a later call needs to resume. Checkpoints of another course
            or other data are removed, and so are all if some are of later epochs than the last. The
            caller removes the folder once the result is saved.
        num_workers: processes that load images; 0 loads them in this process; `auto` for
            `loading.processes`.
        pretrained: weights to start from (`detmake.model.checkpoint`); None starts from scratch.
        processes: how many processes train, each on its own GPU or, without GPUs, all on the CPU;
            the batch size must be a multiple of it.

    Raises:
        InputError: the model cannot be built, the pretrained weights do not fit it, the first batch
            fails, or training diverged.
        torch.distributed.elastic.multiprocessing.errors.ChildFailedError: a process failed.
    """
    train_coco, val_coco = subsets.read(train_file), subsets.read(val_file)
    labels = subsets.class_names(train_coco)
    config, detector = new_detector(recipe, train_coco)
    files = [file for file in (train_file, val_file, pretrained) if file]
    schedule = build_schedule(recipe, len(train_coco["images"]))
    last_epoch, epochs = (schedule["train_cfg"][key] for key in ("last_epoch", "max_epochs"))
    resume.discard_foreign_checkpoints(checkpoints, recipe, files, last_epoch)
    if pretrained:
        checkpoint.load_pretrained(detector, pretrained, recipe.channel_order)
    log.info("Template %s, input %d×%d", recipe.name, *recipe.input_size)
    log.info("Classes: %s", ", ".join(labels))
    images, batch_size = len(train_coco["images"]), recipe.learning_parameters.batch_size
    if images < batch_size:
        log.warning(
            "The train subset has %d images, fewer than learning_parameters.batch_size, %d: each "
            "epoch is one iteration. A smaller batch learns more in as many epochs.",
            *(images, batch_size),
        )
    given = recipe.model["bbox_head"].get("anchor_generator", {})
    for key, value in config["bbox_head"].get("anchor_generator", {}).items():
        if value != given[key]:
            log.info("%s of the anchors, fitted to the train subset: %s", key, value)
    if last_epoch < epochs:
        log.info("Stopping after epoch %d of %d", last_epoch, epochs)
    arguments = {
        "recipe": recipe,
        "input_size": recipe.input_size,
        "schedule": schedule,
        "train_file": train_file,
        "val_file": val_file,
        "checkpoints": checkpoints,
        "num_workers": num_workers,
    }
    if processes == 1:
        fit(detector, **arguments)
    else:
        fit_in_processes(processes, config, detector, arguments)
    snapshot = Snapshot(
        model=config,
        labels=labels,
        input_size=list(recipe.input_size),
        confidence_threshold=math.nan,
        template={"id": recipe.id, "name": recipe.name},
        state_dict=resume.best_weights(checkpoints),
        tiling=train_coco["info"].get("tiling"),
    )
    found = with_best_threshold(snapshot, val_coco)
    return TrainingResult(*found, resume.read_scalars(checkpoints))
