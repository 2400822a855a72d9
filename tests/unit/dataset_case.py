"""Datasets of single-coloured images, for tests of the readers."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from detmake.data import checking, sources
from detmake.data.annotated import Source
from detmake.data.image_digests import listed_digest
from detmake.errors import InputError

WIDTH, HEIGHT = 200, 100


class Dataset:
    """A folder to fill with files, and what detmake makes of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data: Any = str(folder)  # the key of the configuration

    def write(self, files: Mapping[str, str | bytes]) -> None:
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def draw(self, *names: str, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
        for name in names:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", size, "teal").save(path)

    def source(self, subset: str = "train") -> Source:
        return sources.locate(self.data)[subset]

    def prepare(self, subset: str = "train", classes: list[str] | None = None) -> dict[str, Any]:
        return checking.prepare(self.source(subset), classes, subset)

    def boxes(self, subset: str = "train") -> dict[str, list[tuple[str, list[float]]]]:
        """Class names and xywh boxes in pixels, rounded to hundredths, by the image's name."""
        return boxes(self.prepare(subset))

    def digest(self, subset: str = "train") -> str | None:
        return listed_digest(self.source(subset))

    def refused(self, *said: str, subset: str = "train") -> None:
        """Expect a refusal, on one screen, whose message has these texts."""
        with pytest.raises(InputError) as error:
            self.prepare(subset)
        message = str(error.value)
        assert [text for text in said if text not in message] == [], message
        assert str(self.folder) in message
        assert len(message) < 1500


def boxes(coco: Mapping[str, Any], digits: int = 2) -> dict[str, list[tuple[str, list[float]]]]:
    """Class names and boxes of a prepared subset, by the image's name without folder and suffix."""
    names = {category["id"]: category["name"] for category in coco["categories"]}
    found: dict[int, list] = {image["id"]: [] for image in coco["images"]}
    for entry in coco["annotations"]:
        box = [round(value, digits) for value in entry["bbox"]]
        found[entry["image_id"]].append((names[entry["category_id"]], box))
    stems = {image["id"]: Path(image["file_name"]).stem for image in coco["images"]}
    return {stems[image_id]: entries for image_id, entries in found.items()}


def remark(coco: Mapping[str, Any], pattern: str) -> str:
    """The one remark that a pattern finds something in."""
    (found,) = (text for text in coco["info"]["remarks"] if re.search(pattern, text))
    return found
