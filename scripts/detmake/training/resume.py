"""The folder of checkpoints, from which an interrupted training resumes."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor


def fingerprint(recipe: Any, files: Sequence[Path]) -> dict[str, Any]:
    """Fingerprint a checkpoint must match to be resumed.

    Args:
        recipe: dataclass of all settings; a template's display name is left out.
        files: input files, which count by their digests.
    """
    settings = asdict(recipe)
    settings.pop("template_name", None)
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return {"settings": settings, "files": digests}


def discard_foreign_checkpoints(checkpoints: Path, fingerprint: Mapping[str, Any]) -> None:
    """Empty the folder of checkpoints unless it has this fingerprint; then write it there."""
    file = checkpoints / "fingerprint.json"
    content = json.dumps(fingerprint, sort_keys=True)
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
    best = torch.load(_best_checkpoint(checkpoints), map_location="cpu", weights_only=False)
    return best["state_dict"]


def read_scalars(checkpoints: Path) -> pd.DataFrame:
    """Read MMEngine's scalars; of a step repeated after an interruption, the last."""
    files = sorted(checkpoints.glob("vis_data/scalars.json"))
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    scalars = pd.DataFrame(rows)
    scalars.insert(0, "kind", ["train" if "loss" in row else "validation" for row in rows])
    return scalars.drop_duplicates(["kind", "step"], keep="last").reset_index(drop=True)
