"""The folder of checkpoints, from which an interrupted training resumes."""

import json
import logging
import math
import os
import pickle
import zipfile
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor

from detmake.artifacts import empty, write_text
from detmake.errors import InputError
from detmake.training.fingerprint import fingerprint, has_course
from detmake.training.recipe import BaseRecipe

log = logging.getLogger("detmake")


def discard_foreign_checkpoints(
    checkpoints: Path, recipe: BaseRecipe, files: list[Path], last_epoch: float = math.inf
) -> None:
    """Empty the folder of checkpoints unless a training can go on from them.

    The folder holds the `fingerprint` of the course (`recipe.course()`) and the files.

    Args:
        checkpoints: the folder.
        recipe: how to train.
        files: files that the result depends on.
        last_epoch: where the training stops. A later checkpoint is of a training that went on: it
            may hold a better epoch, and those before it are gone.
    """
    course = fingerprint(recipe.course(), files)
    if has_course(checkpoints, course) and all(
        _epoch(saved) <= last_epoch for saved in _by_age(checkpoints)
    ):
        return
    empty(checkpoints)
    (checkpoints / "fingerprint.json").write_text(course, encoding="utf-8")


class KeepBest(Hook):
    """Keeps the weights of the best epoch, as validated, in each checkpoint.

    Args:
        monitor: the metric that decides; greater is better.
    """

    priority = "ABOVE_NORMAL"  # while the averaged weights are in place: before EMAHook

    def __init__(self, monitor: str) -> None:
        self._monitor = monitor
        self._best: dict[str, Any] = {monitor: -math.inf}

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Copy the weights if no earlier epoch was as good."""
        if metrics[self._monitor] > self._best[self._monitor]:
            model = runner.model.module if is_model_wrapper(runner.model) else runner.model
            weights = {
                name: value.to("cpu", copy=True) for name, value in model.state_dict().items()
            }
            self._best = {self._monitor: metrics[self._monitor], "state_dict": weights}
            runner.logger.info("Epoch %d is the best so far", runner.epoch)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Put the best weights into a checkpoint."""
        checkpoint["best"] = self._best

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Take the best weights from a checkpoint."""
        self._best = checkpoint["best"]


class PlainMessages(Hook):
    """Saves MMEngine's logged scalars and messages as plain values: `load` reads nothing else."""

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Replace the buffers of a checkpoint by their values and counts, and NumPy's numbers."""
        hub = checkpoint["message_hub"]
        hub["runtime_info"] = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in hub["runtime_info"].items()
        }
        hub["log_scalars"] = {
            name: [part.tolist() for part in buffer.data]
            for name, buffer in hub["log_scalars"].items()
        }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Make buffers of them again."""
        hub = checkpoint["message_hub"]
        hub["log_scalars"] = {
            name: HistoryBuffer(*parts) for name, parts in hub["log_scalars"].items()
        }


def save(runner: Runner) -> None:
    """Save all that the rest of a training depends on, and remove all but the last two checkpoints.

    A file gets its name when it is whole. The one before it stays, in case the disk loses it.
    """
    if not is_main_process():
        return
    runner.logger.info("Saving checkpoint at %d epochs", runner.epoch)
    folder = Path(runner.work_dir)
    file = folder / f"epoch_{runner.epoch}.pth"
    partial = file.with_name(f"{file.name}.partial")
    meta = {"epoch": runner.epoch, "iter": runner.iter}
    runner.save_checkpoint(str(folder), partial.name, meta=meta)
    with partial.open("rb") as written:
        os.fsync(written)
    os.replace(partial, file)
    files = _by_age(folder)
    position = files.index(file)
    for other in files[:position] + files[position + 2 :]:  # those of later epochs are damaged
        other.unlink()


def newest(checkpoints: Path) -> Path | None:
    """Return the last whole checkpoint; None if there is none."""
    return next(filter(_is_whole, _by_age(checkpoints)), None)


def _by_age(checkpoints: Path) -> list[Path]:
    """Checkpoints, the newest first."""
    files = [file for file in checkpoints.glob("epoch_*.pth") if file.stem[6:].isdecimal()]
    return sorted(files, key=_epoch, reverse=True)


def _epoch(file: Path) -> int:
    return int(file.stem.removeprefix("epoch_"))


def _is_whole(file: Path) -> bool:
    """Whether a checkpoint is a complete zip archive, as torch writes it, with right checksums."""
    try:
        with zipfile.ZipFile(file) as archive:
            whole = archive.testzip() is None
    except Exception:  # damaged bytes give errors of many types
        whole = False
    if not whole:
        log.warning("%s is damaged: going back to the checkpoint before it", file)
    return whole


def load(file: Path, device: Any = "cpu") -> dict[str, Any]:
    """Load a checkpoint without running code from it: somebody may have put another in its place.

    Args:
        file: the checkpoint.
        device: receives the tensors.

    Raises:
        InputError: the file holds something else than tensors and plain values.
    """
    try:
        checkpoint = torch.load(file, device, weights_only=True)
        checkpoint["meta"].pop("config", None)  # MMEngine would run it as Python; ours have none
    except (pickle.UnpicklingError, AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"{file}: found a file that this training did not write ({type(error).__name__}), "
            f"expected a checkpoint to resume from. Remove {file.parent} to train from the start."
        ) from error
    return checkpoint


def best_weights(checkpoints: Path) -> dict[str, Tensor]:
    """Load the `state_dict` of the epoch with the highest F-measure onto the CPU."""
    return load(newest(checkpoints))["best"]["state_dict"]


def _scalars_file(checkpoints: Path) -> Path:
    return checkpoints / "vis_data" / "scalars.json"


def mend_scalars(checkpoints: Path, checkpoint: Path | None) -> None:
    """Remove the scalars that a training will log again when it goes on from a checkpoint.

    These are the lines of later epochs, and a last line that a kill or a full disk cut short.

    Args:
        checkpoints: folder of checkpoints, with MMEngine's file of scalars.
        checkpoint: where the training goes on; None: it starts again.
    """
    file, last_epoch = _scalars_file(checkpoints), _epoch(checkpoint) if checkpoint else 0
    if file.exists():
        whole = [line for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]
        rows = [json.loads(line) for line in whole]  # the step of a validation is its epoch
        kept = [row.get("epoch", row["step"]) <= last_epoch for row in rows]
        write_text(file, "".join(compress(whole, kept)))


def read_scalars(checkpoints: Path) -> pd.DataFrame:
    """Read MMEngine's scalars."""
    rows = [json.loads(line) for line in _scalars_file(checkpoints).read_text().splitlines()]
    scalars = pd.DataFrame(rows)
    scalars.insert(0, "kind", ["train" if "loss" in row else "validation" for row in rows])
    return scalars
