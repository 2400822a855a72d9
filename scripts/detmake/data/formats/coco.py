"""Read COCO annotation files."""

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

from detmake.data.annotated import Annotated, Source
from detmake.data.findings import Findings
from detmake.data.formats.folders import form_that_is_there, forms_of
from detmake.errors import InputError


def read(source: Source, findings: Findings) -> Annotated:
    """Read a subset; see `read_coco`."""
    coco = read_coco(source.annotations)
    for entry in coco["images"]:
        if isinstance(name := entry.get("file_name"), str):
            entry["file_name"] = form_that_is_there(source.root, name)
    return Annotated(coco, source.root)


def image_files(source: Source) -> dict[str, list[str]]:
    """Return the names that images may have by folder, relative to the root. Raises InputError."""
    names = defaultdict(list)
    for entry in read_coco(source.annotations)["images"]:
        if isinstance(name := entry.get("file_name"), str):
            # Which of these there is may change while the annotation file stays the same.
            for form in forms_of(source.root, name):
                folder, base = os.path.split(form)
                names[folder].append(base)
    return names


def read_coco(path: Path) -> dict[str, Any]:
    """Read a COCO annotation file, without checking the entries of its lists.

    Returns:
        A COCO dictionary; `images`, `annotations` and `categories` are lists of dictionaries.

    Raises:
        InputError: the file cannot be read, is not JSON, or lacks one of these lists.
    """
    expected = (
        "Expected a COCO detection file: a JSON object with the lists images, annotations and "
        "categories. Export the dataset in COCO format and set ann-files to that file."
    )
    try:
        coco = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).\n{expected}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error}).\n{expected}") from error
    if not isinstance(coco, dict):
        raise InputError(f"{path}: found a JSON {type(coco).__name__}.\n{expected}")
    for key in ("images", "annotations", "categories"):
        if key not in coco:
            found = ", ".join(map(repr, list(coco)[:10])) or "none"
            raise InputError(f"{path}: key {key!r} is missing; keys found: {found}.\n{expected}")
        entries = coco[key]
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise InputError(f"{path}: {key!r} is not a list of JSON objects.\n{expected}")
    return coco
