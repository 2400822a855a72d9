"""The public dataset BCCD (blood cells): verify its archive and write its subsets as COCO."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detmake.artifacts import staged, write_json
from detmake.data.archive import read_members
from detmake.data.formats.voc import image_and_objects
from detmake.data.sources import ANNOTATION_FILE
from detmake.errors import InputError

# Category 0 is the supercategory of a Roboflow export; it has no boxes.
_CATEGORIES = ("cells", "Platelets", "RBC", "WBC")
_REPOSITORY = "https://github.com/Shenggan/BCCD_Dataset"
_COLUMNS = ("subset", "name", "image_sha256", "annotation_sha256")
_IMAGE = "BCCD/JPEGImages/{name}.jpg"  # members of the archive
_ANNOTATION = "BCCD/Annotations/{name}.xml"


def verify(archive: Path, manifest: Path) -> None:
    """Check that an archive contains all files of BCCD, unaltered.

    Args:
        archive: zip archive of the repository, as GitHub serves it.
        manifest: CSV file, one row per image: `subset` (`train`, `valid` or `test`), `name` (the
            image's file name without suffix), `image_sha256` and `annotation_sha256` (hexadecimal).

    Raises:
        InputError: the manifest's columns are wrong, or `read_members` refuses the archive.
    """
    _read(archive, _rows(manifest))


def write_subset(archive: Path, manifest: Path, subset: str, folder: Path) -> None:
    """Write the images of one subset of BCCD, then `_annotations.coco.json` beside them.

    Writes verified files only, and leaves other files in `folder` alone.

    Args:
        archive: as for `verify`.
        manifest: as for `verify`; images keep its order.
        subset: a value of the manifest's column `subset`.
        folder: folder to write to; created if missing.

    Raises:
        InputError: as for `verify`, or the manifest does not have the subset.
    """
    rows = _rows(manifest)
    of_subset = [row for row in rows if row["subset"] == subset]
    if not of_subset:
        found = ", ".join(sorted({row["subset"] for row in rows}))
        raise InputError(f"{manifest}: no subset {subset!r}; found: {found}.")
    contents = _read(archive, of_subset)
    coco = _coco({f"{row['name']}.jpg": contents[_ANNOTATION.format_map(row)] for row in of_subset})
    coco["info"] = {"description": f"BCCD, {subset} subset", "url": _REPOSITORY}
    coco["licenses"] = [{"id": 1, "name": "MIT", "url": _REPOSITORY}]
    with staged(folder) as scratch:
        for row in of_subset:
            (scratch / f"{row['name']}.jpg").write_bytes(contents[_IMAGE.format_map(row)])
        # Old annotations must not remain beside new images if the move is interrupted.
        (folder / ANNOTATION_FILE).unlink(missing_ok=True)
    write_json(folder / ANNOTATION_FILE, coco)


def _coco(documents: Mapping[str, bytes]) -> dict[str, Any]:
    """Return COCO in the form of BCCD on Roboflow Universe (bccd/3) from VOC by image file name."""
    categories = [
        {"id": number, "name": name, "supercategory": "cells" if number else "none"}
        for number, name in enumerate(_CATEGORIES)
    ]
    coco: dict[str, Any] = {"categories": categories, "images": [], "annotations": []}
    for image_id, (file_name, document) in enumerate(documents.items()):
        image, objects = image_and_objects(document, file_name)
        size = {"height": image["height"], "width": image["width"]}
        coco["images"].append({"id": image_id, "file_name": file_name} | size)
        for name, entry in objects:
            coco["annotations"].append(
                {
                    "id": len(coco["annotations"]),
                    "image_id": image_id,
                    "category_id": _CATEGORIES.index(name),
                    "bbox": entry["bbox"],
                    "area": entry["bbox"][2] * entry["bbox"][3],
                    "iscrowd": 0,
                }
            )
    return coco


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
    """Return the verified images and annotations of these rows, by member of the archive."""
    images = {_IMAGE.format_map(row): row["image_sha256"] for row in rows}
    annotations = {_ANNOTATION.format_map(row): row["annotation_sha256"] for row in rows}
    return read_members(archive, images | annotations)
