"""What identifies a training: two trainings with one fingerprint have the same result."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from detmake.artifacts import sha256
from detmake.training.recipe import BaseRecipe


def fingerprint(recipe: BaseRecipe, files: Sequence[Path], **more: Any) -> str:
    """Return all that the result of a training depends on, as JSON with sorted keys.

    Files count by their SHA-256. A template's display name does not count.

    Args:
        recipe: how to train.
        files: prepared subsets, and the weights that the training starts from.
        more: what else the result depends on, as plain values.
    """
    settings = asdict(recipe)
    settings.pop("name", None)
    digests = [sha256(file) for file in files]
    return json.dumps({"settings": settings, "files": digests, **more}, sort_keys=True)


def has_course(checkpoints: Path, course: str) -> bool:
    """Tell whether checkpoints are of a training with this `fingerprint` of its course."""
    mark = checkpoints / "fingerprint.json"
    return mark.exists() and mark.read_text(encoding="utf-8") == course
