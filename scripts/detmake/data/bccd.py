"""BCCD, a public data set of blood cells: its archive, and its subsets as COCO folders."""

import csv
from collections.abc import Sequence
from pathlib import Path

from detmake.artifacts import staged, write_json
from detmake.data.archive import read_members
from detmake.data.formats.voc import coco_from_voc
from detmake.data.sources import ANNOTATION_FILE
from detmake.errors import InputError

_CLASSES = ("Platelets", "RBC", "WBC")
_REPOSITORY = "https://github.com/Shenggan/BCCD_Dataset"

_COLUMNS = ("subset", "name", "image_sha256", "annotation_sha256")
_IMAGE = "BCCD/JPEGImages/{name}.jpg"  # members of the archive
_ANNOTATION = "BCCD/Annotations/{name}.xml"


def verify(archive: Path, manifest: Path) -> None:
    """Check that an archive has all files of BCCD, unaltered.

    Args:
        archive: Zip archive of the repository, as GitHub serves it.
        manifest: CSV file with one row an image: `subset` (`train`, `valid` or `test`), `name` (the
            image's file name without suffix), `image_sha256` and `annotation_sha256` (hexadecimal).

    Raises:
        InputError: The manifest lacks a column, or as `read_members` raises it.
    """
    _read(archive, _rows(manifest))


def write_subset(archive: Path, manifest: Path, subset: str, folder: Path) -> None:
    """Write one subset of BCCD: its images, and last `_annotations.coco.json` beside them.

    Only verified files are written. Other files in `folder` are left alone.

    Args:
        archive: As for `verify`.
        manifest: As for `verify`; the images keep its order.
        subset: A value of the manifest's column `subset`.
        folder: Where to write; made where absent.

    Raises:
        InputError: As for `verify`, and where the manifest lacks the subset.
    """
    rows = _rows(manifest)
    of_subset = [row for row in rows if row["subset"] == subset]
    if not of_subset:
        found = ", ".join(sorted({row["subset"] for row in rows}))
        raise InputError(f"{manifest}: no subset {subset!r}; it has: {found}.")
    contents = _read(archive, of_subset)
    coco = coco_from_voc(
        {f"{row['name']}.jpg": contents[_ANNOTATION.format_map(row)] for row in of_subset},
        _CLASSES,
        supercategory="cells",
    )
    coco["info"] = {"description": f"BCCD, {subset} subset", "url": _REPOSITORY}
    with staged(folder) as scratch:
        for row in of_subset:
            (scratch / f"{row['name']}.jpg").write_bytes(contents[_IMAGE.format_map(row)])
        # Those of an earlier time must not stand beside some of the new images.
        (folder / ANNOTATION_FILE).unlink(missing_ok=True)
    write_json(folder / ANNOTATION_FILE, coco)


def _rows(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    if tuple(reader.fieldnames or ()) != _COLUMNS:
        raise InputError(
            f"{manifest}: columns are {reader.fieldnames}, expected {', '.join(_COLUMNS)}; "
            "restore the file from the repository."
        )
    return rows


def _read(archive: Path, rows: Sequence[dict[str, str]]) -> dict[str, bytes]:
    """Return the images and annotations of these rows by the archive's member, verified."""
    images = {_IMAGE.format_map(row): row["image_sha256"] for row in rows}
    annotations = {_ANNOTATION.format_map(row): row["annotation_sha256"] for row in rows}
    return read_members(archive, images | annotations)
