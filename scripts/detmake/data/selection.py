"""Take the images of a share, and the classes that the configuration names."""

import csv
import hashlib
import logging
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from detmake.data.annotated import Share
from detmake.data.findings import Findings
from detmake.errors import InputError
from detmake.image_files import IMAGE_SUFFIXES


def position(key: str, seed: int) -> float:
    """Return a number from 0 to below 1, spread evenly over keys, from the SHA-256 of seed and key.

    It depends on nothing else, so adding images moves no other image to another share.
    """
    digest = hashlib.sha256(f"{seed}\0{key}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def split_name(image: Mapping[str, Any]) -> str:
    """Return the name that a split goes by of an entry of `images` in a prepared subset."""
    return image.get("split_name", image["file_name"])


def group_of(name: str, pattern: str | None) -> str | None:
    """Return what keeps an image together with others: the text that a pattern finds in its name.

    It is the text of the pattern's groups, joined by slashes, if it has any.

    Args:
        name: name of the image that a split goes by (`split_name`).
        pattern: a regular expression; None for no groups.

    Returns:
        None if there is no pattern, or it finds no text (some patterns match the empty text).
    """
    found = re.search(pattern, name) if pattern else None
    if found is None:
        return None
    texts = [text or "" for text in found.groups()] or [found[0]]
    return "/".join(texts) if any(texts) else None


def read_groups(file: Path, names: Set[str]) -> dict[str, str]:
    """Read the groups of images, by the names that a split goes by (`split_name`).

    Blank lines do not count. In names of images, and of groups that are named after an image,
    backslashes are the slashes of Windows, and blanks around them do not count.

    Args:
        file: CSV with the columns `image` and `group`.
        names: of all images of the dataset.

    Raises:
        InputError: the file cannot be read, lacks a column or a value, or names an image twice.
    """
    columns = ["image", "group"]
    try:
        with open(file, newline="", encoding="utf-8-sig") as lines:
            rows = list(csv.reader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file}: cannot be read as CSV ({error}).") from error
    if not rows or rows[0] != columns:
        raise InputError(
            f"{file}: found {rows[0] if rows else 'nothing'} in the first line, expected "
            f"{','.join(columns)}."
        )
    groups: dict[str, str] = {}
    for number, row in enumerate(rows[1:], 2):
        name = _image_name(row[0], names) if row else ""
        if row and (len(row) != 2 or not all(map(str.strip, row)) or name in groups):
            raise InputError(
                f"{file}, row {number}: found {row}, expected the file name of an image that no "
                "other row names, and its group."
            )
        if row:
            groups[name] = _image_name(row[1], names)
    return groups


def _image_name(text: str, names: Set[str]) -> str:
    """Return the name of an image that a text means, or the text as it is if it names none."""
    name = text.replace("\\", "/").strip()
    return text if text in names or not name.lower().endswith(IMAGE_SUFFIXES) else name


def groups_of(names: Collection[str], share: Share) -> dict[str, str]:
    """Return groups by the names of images, from the share's file of groups or its pattern.

    Images without a group are left out. A file may name others than those of the dataset.

    Args:
        names: of all images of the dataset.
        share: has the file or pattern.

    Raises:
        InputError: as for `read_groups`.
    """
    if share.groups:
        return read_groups(share.groups, set(names))
    groups = {name: group_of(name, share.group) for name in names}
    return {name: group for name, group in groups.items() if group is not None}


def in_share(findings: Findings, names: Mapping[int, str], share: Share) -> dict[int, str | None]:
    """Return the images that belong to a share: their groups, or None, by their ids.

    An image without a group has its name for a key.

    Args:
        names: names that a split goes by (`split_name`), by image id.

    Raises:
        InputError: the pattern of groups finds nothing in any name, the file of groups cannot be
            read or names other images only, or the share has no images.
    """
    there = set(names.values())
    groups = groups_of(there, share)
    without = [name for name in names.values() if name not in groups]
    if share.groups:
        unknown = sorted(groups.keys() - there)
        if len(unknown) == len(groups):
            findings.refuse(
                f"images in {share.groups}, none of which is in the dataset",
                unknown,
                f"Names count from the folder of the images, as in {without[0]}.",
            )
        findings.remark(f"images in {share.groups} that are not in the dataset", unknown)
    if share.group and len(without) == len(names):
        findings.refuse(
            f"images, in none of whose names `group` ({share.group}) finds anything",
            without,
            "Correct the regular expression, which is applied to names as they are shown here.",
        )
    if share.group:
        findings.remark(
            "images whose names have no `group`, each of which is a group of its own", without
        )
    keys = {image_id: groups.get(name, name) for image_id, name in names.items()}
    taken = {
        image_id: groups.get(names[image_id])
        for image_id, key in keys.items()
        if share.low <= position(key, share.seed) < share.high
    }
    size, images = f"{share.high - share.low:.0%}", f"{len(names)} images"
    if share.group or share.groups:
        images += f" in {len(set(keys.values()))} groups"
    if not taken:
        raise InputError(
            f"{findings.subject}: `split` took none of {images} (share {size}). Every subset needs "
            "images: choose another `seed`, or a larger share."
        )
    findings.note(f"{len(taken)} of {images} taken by the split (share {size})", logging.INFO)
    return taken


def merge_classes(
    findings: Findings,
    coco: Mapping[str, Any],
    classes: Mapping[str, Sequence[str]],
    known: Sequence[str] | None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Select and merge the classes of a COCO dictionary whose ids were checked.

    Args:
        findings: for the remark about the boxes that are left out.
        coco: `categories` and `annotations`.
        classes: names in the annotations, by the names that they shall have.
        known: class names of the train subset, whose annotations have all names; None if this is
            the train subset.

    Returns:
        The new categories, in the order of `classes`, and the annotations of these. Ids of
        categories count from 1.

    Raises:
        InputError: the annotations of the train subset lack one of the names.
    """
    names = {category["id"]: category["name"] for category in coco["categories"]}
    new = {old: number for number, olds in enumerate(classes.values(), 1) for old in olds}
    if known is None:
        findings.refuse(
            "names in `classes` that the annotations do not have",
            [repr(name) for name in new if name not in names.values()],
            f"Classes of the annotations: {', '.join(map(repr, sorted({*names.values()})))}.",
        )
    numbers = {category_id: new[name] for category_id, name in names.items() if name in new}
    left_out = Counter(
        names[entry["category_id"]]
        for entry in coco["annotations"]
        if entry["category_id"] not in numbers
    )
    findings.remark(
        "classes that `classes` does not select, left out",
        [f"{name!r} (boxes: {count})" for name, count in sorted(left_out.items())],
        logging.INFO,
    )
    annotations = [
        entry | {"category_id": numbers[entry["category_id"]]}
        for entry in coco["annotations"]
        if entry["category_id"] in numbers
    ]
    return [{"id": number, "name": name} for number, name in enumerate(classes, 1)], annotations
