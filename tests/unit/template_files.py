"""The templates, for the tests of several modules."""

from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "templates"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str) -> dict[str, Any]:
    """Content of a template's file, each time a new one."""
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
