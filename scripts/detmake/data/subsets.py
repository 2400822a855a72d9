"""Read prepared subsets, the datasets that every later step uses."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

_T = TypeVar("_T")


def read(path: Path) -> dict[str, Any]:
    """Read a prepared subset: the JSON file of what `checking.prepare` returned.

    If it was cut (`tiles.cut`), paths of tiles, which count from this file, become absolute.
    """
    coco = json.loads(path.read_text(encoding="utf-8"))
    info = coco.get("info", {})
    if "tiles" in info:
        info["tiles"] = os.path.abspath(path.parent / info["tiles"])
        for image in coco["images"]:
            if image.get("is_tile"):
                image["file_name"] = os.path.join(info["tiles"], image["file_name"])
    return coco


def class_names(coco: Mapping[str, Any]) -> list[str]:
    """Return the class names of a prepared subset; index k has category id k + 1."""
    return [category["name"] for category in coco["categories"]]


def image_paths(coco: Mapping[str, Any]) -> list[Path]:
    """Return the paths of a prepared subset's images, in its order."""
    root = Path(coco["info"]["image_root"])
    return [root / image["file_name"] for image in coco["images"]]


def evenly_spread(images: Sequence[_T], size: int) -> list[_T]:
    """Return at most `size` images, evenly spread over the sequence."""
    step = max(len(images) / size, 1.0)
    return [images[int(i * step)] for i in range(min(size, len(images)))]


def some_images(coco: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Return a prepared subset with at most `size` of its images, evenly spread."""
    return with_images(coco, evenly_spread(coco["images"], size))


def with_images(coco: Mapping[str, Any], images: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a prepared subset with only these of its images, and their annotations."""
    ids = {image["id"] for image in images}
    annotations = [entry for entry in coco["annotations"] if entry["image_id"] in ids]
    return {**coco, "images": images, "annotations": annotations}


def box_sizes(coco: Mapping[str, Any], input_size: Sequence[int]) -> np.ndarray:
    """Return the widths and heights of a prepared subset's boxes after resizing.

    Args:
        coco: a prepared subset.
        input_size: (width, height) in pixels that images are resized to.

    Returns:
        (N, 2) float, pixels of the resized images.
    """
    images = {image["id"]: (image["width"], image["height"]) for image in coco["images"]}
    entries = coco["annotations"]
    relative = [np.divide(entry["bbox"][2:], images[entry["image_id"]]) for entry in entries]
    return np.array(relative) * np.array(input_size)
