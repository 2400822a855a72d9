"""The folder of checkpoints, from which an interrupted training resumes."""

import json
import shutil
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from detmake.training.fingerprint import fingerprint
from detmake.training.recipe import BaseRecipe


def discard_foreign_checkpoints(checkpoints: Path, recipe: BaseRecipe, files: list[Path]) -> None:
    """Empty the folder of checkpoints if their training had another `fingerprint`."""
    content = fingerprint(recipe, files)
    file = checkpoints / "fingerprint.json"
    if file.exists() and file.read_text(encoding="utf-8") == content:
        return
    shutil.rmtree(checkpoints, ignore_errors=True)
    checkpoints.mkdir(parents=True)
    file.write_text(content, encoding="utf-8")


def _best_checkpoint(checkpoints: Path) -> Path:
    """The checkpoint of the best epoch; the last one if there is none."""
    best = sorted(checkpoints.glob("best_*.pth"), key=lambda path: path.stat().st_mtime_ns)
    return best[-1] if best else Path((checkpoints / "last_checkpoint").read_text())


def best_weights(checkpoints: Path) -> dict[str, Tensor]:
    """Load the `state_dict` of the epoch with the highest F-measure onto the CPU."""
    return torch.load(_best_checkpoint(checkpoints), "cpu", weights_only=False)["state_dict"]


def read_scalars(checkpoints: Path) -> pd.DataFrame:
    """Read MMEngine's scalars; of a step repeated after an interruption, the last."""
    file = checkpoints / "vis_data" / "scalars.json"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    scalars = pd.DataFrame(rows)
    scalars.insert(0, "kind", ["train" if "loss" in row else "validation" for row in rows])
    return scalars.drop_duplicates(["kind", "step"], keep="last").reset_index(drop=True)
