"""The templates, as several test modules need them."""

from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "templates"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))

#: Without those that differ from another one only in width and convolutions.
HEADS = [name for name in NAMES if name not in ("yolox_nano", "yolox_nano_relu")]


def load(name: str) -> dict[str, Any]:
    """Content of a template's file, a new copy each time."""
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


def anchor_counts(model: dict[str, Any]) -> list[int]:
    """Anchors per cell and level where training fits their sizes to the dataset, else nothing."""
    sizes = model["bbox_head"].get("anchor_generator", {}).get("base_sizes", [])
    return sizes if all(isinstance(count, int) for count in sizes) else []


def fit_anchors(model: dict[str, Any]) -> None:
    """Set arbitrary anchor sizes where training would fit them to the dataset."""
    if counts := anchor_counts(model):
        model["bbox_head"]["anchor_generator"]["base_sizes"] = [
            [[16 * number + offset, 20 * number - offset] for number in range(1, count + 1)]
            for offset, count in zip(range(1, 8 * len(counts), 8), counts, strict=True)
        ]
