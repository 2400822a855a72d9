"""Annotated images of a subset: where the user has them, and what a reader makes of them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Share:
    """Some of a source's images, chosen at random but for good (see `selection.position`).

    Attributes:
        low: the share holds images whose position is at least this; from 0 to 1.
        high: and less than this.
        seed: of the positions.
        group: regular expression; images in whose file names it finds the same text have the same
            position. None: each image has its own.
        groups: CSV file that names the groups of images (`selection.read_groups`), or None.
    """

    low: float
    high: float
    seed: int
    group: str | None
    groups: Path | None = None


@dataclass(frozen=True)
class Source:
    """Where the annotated images of one subset are.

    Attributes:
        format: a key of `formats.readers.READERS`.
        annotations: the annotation file, the data.yaml (YOLO), or the folder of XML files (VOC).
        root: the folder that names of images count from.
        parts: what belongs to the subset: folders of images and lists of them (YOLO), or one list
            of ImageSets (VOC). Empty: everything.
        share: the images to take; None for all.
        classes: class names to take, each with the names that it has in the annotations; None for
            all classes.
    """

    format: str
    annotations: Path
    root: Path
    parts: tuple[Path, ...] = ()
    share: Share | None = None
    classes: Mapping[str, tuple[str, ...]] | None = None

    @property
    def files(self) -> list[Path]:
        """The files that say which images there are, and where; not those of single images."""
        lists = [part for part in self.parts if part.suffix == ".txt"]
        files = lists if self.annotations.is_dir() else [self.annotations, *lists]
        return [*files, self.share.groups] if self.share and self.share.groups else files

    @property
    def whole(self) -> "Source":
        """The source with all its images and classes."""
        return replace(self, share=None, classes=None)

    def as_parameter(self) -> dict[str, Any]:
        """Return a mapping of strings, lists and numbers, from which `from_parameter` makes it."""
        paths = {"annotations": str(self.annotations), "root": str(self.root)}
        share = self.share and asdict(self.share)
        if share and share["groups"]:
            share["groups"] = str(share["groups"])
        parts = [str(part) for part in self.parts]
        return asdict(self) | paths | {"parts": parts, "share": share}

    @classmethod
    def from_parameter(cls, parameter: Mapping[str, Any]) -> "Source":
        """Return the source of which `as_parameter` made a mapping."""
        share = parameter["share"] and Share(**parameter["share"])
        if share and share.groups:
            share = replace(share, groups=Path(share.groups))
        paths = {key: Path(parameter[key]) for key in ("annotations", "root")}
        parts = tuple(Path(part) for part in parameter["parts"])
        return cls(**{**parameter, **paths, "parts": parts, "share": share})


@dataclass(frozen=True)
class Annotated:
    """What a reader returns.

    Attributes:
        coco: a COCO dictionary: `images`, `annotations` (`bbox`: xywh) and `categories`. An
            annotation may have an `origin`, its place in the user's files for messages, such as
            "labels/a.txt line 3".
        root: the folder that file names count from.
        is_normalized: whether boxes are in parts of the image's upright width and height, from 0
            to 1, instead of pixels.
        split_names: by image id, the names that a split goes by, where these are not the file
            names. They stay when images are added, even if the root does not.
    """

    coco: dict[str, Any]
    root: Path
    is_normalized: bool = False
    split_names: Mapping[int, str] = field(default_factory=dict)
