"""Check a user's dataset, repair or refuse it, and return it in the form all later steps use."""

import json
import logging
import os
import sys
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.contrib.concurrent import thread_map

from detmake.data.annotated import Source
from detmake.data.findings import Findings, repeated
from detmake.data.formats import readers
from detmake.data.images import DecodedImage, decode
from detmake.data.selection import in_share, merge_classes
from detmake.errors import InputError
from detmake.image_files import IMAGE_SUFFIXES

_Entries = Sequence[Mapping[str, Any]]  # of a list in a COCO dictionary
#: The largest integer that is exact as a floating-point number, as which JSON is often read.
_LARGEST_ID = 2**53


def prepare(
    source: Source, classes: Sequence[str] | None = None, subset: str = ""
) -> dict[str, Any]:
    """Check one subset of a user's dataset, including its images, and return it in a clean form.

    Repairs what it can and logs a remark about each repair. Refuses everything else.

    - Classes are matched by name, so category ids may differ between subsets. Two categories with
      boxes must not share a name. A category without boxes is dropped if it is only the
      supercategory of others (as Roboflow writes it) or repeats another one's name. Other classes
      without boxes are kept, because the user declared them in the label schema.
    - Runs of spaces, tabs and line breaks in class names become one space.
    - Boxes are clipped to their image. Boxes are dropped if they have no area, lie outside the
      image, or are less than one pixel wide or high (MMDetection ignores those in training only).
    - Image sizes are upright, as OpenCV and MMDetection decode them. Boxes are turned upright if
      the annotation file declares the size before EXIF orientation. Other boxes are not turned.
    - Absolute file names are accepted below the image root. Image ids are kept. Annotations get
      new ids, because pycocotools counts a match with annotation 0 as no match.
    - If the source has a share, only its images are taken and decoded; if it has classes, only
      their boxes.

    Args:
        source: where the annotated images are.
        classes: class names of the train subset; None if this is the train subset.
        subset: its name, for messages: several subsets may share an annotation file.

    Returns:
        A COCO dictionary. `categories`: `id` (1..K) and `name`, in the order of `classes`; for the
        train subset in the order of the annotations' ids. `images`: `id`, `file_name` (relative to
        `image_root`), `width` and `height` (decoded, upright), `sha256` (of the file), `dhash` (of
        the pixels), `group` if the share has one of the image, and `split_name` if a split goes by
        another name than the file name. `annotations`: `id` (from 1), `image_id`, `category_id`,
        `bbox` (four floats: xywh in pixels, within the image), `area` (of the box) and `iscrowd`
        (1 also for annotations marked `ignore`). `info`: `image_root`, `annotation_file` and
        `remarks` (list of str). `licenses`: `name` and `url`, as far as the annotations declare
        them.

    Raises:
        InputError: the annotations are missing or not of their format; ids, names or sizes
            contradict each other; class names look the same; a box is not four finite numbers, or
            its class is not in `classes`; an image is missing, outside the image root, cannot be
            decoded or has more than 8 bits a channel; there are no images or no boxes.
    """
    files = ", ".join(map(str, source.parts or [source.annotations]))
    findings = Findings(f"{files} ({subset})" if subset else files)
    annotated = readers.read(source, findings)
    coco, image_root = annotated.coco, annotated.root
    findings.refuse_if_empty(coco["images"], "images")
    findings.refuse_if_empty(coco["annotations"], "annotations")
    _check_entries(findings, "image", coco["images"], "file_name", coco["annotations"])
    _check_entries(findings, "category", coco["categories"], "name", coco["annotations"])
    file_names = _check_file_names(findings, coco["images"], image_root)
    _check_sizes(findings, coco["images"])
    _check_boxes(findings, coco["annotations"], file_names)
    coco = {**coco, "categories": _tidy_names(findings, coco["categories"])}
    split_names = {**file_names, **annotated.split_names}
    coco, groups = _select(findings, coco, split_names, source, classes)
    file_names = {image["id"]: file_names[image["id"]] for image in coco["images"]}
    names, category_ids = _match_categories(
        findings, coco["categories"], coco["annotations"], classes
    )
    images = _decode_images(findings, file_names, image_root)
    if annotated.is_normalized:
        coco = _in_pixels(coco, images)
    turned = _find_turned(findings, coco["images"], images)
    annotations = _clean_annotations(findings, coco["annotations"], category_ids, images, turned)
    _check_content(findings, names, images, annotations)
    return {
        "info": {
            "image_root": str(image_root),
            "annotation_file": str(source.annotations),
            "remarks": findings.remarks,
        },
        "licenses": _licenses(annotated.coco.get("licenses")),
        "categories": [{"id": k, "name": name} for k, name in enumerate(names, start=1)],
        "images": [
            {
                "id": image_id,
                "file_name": image.file_name,
                "width": image.width,
                "height": image.height,
                "sha256": image.sha256,
                "dhash": image.dhash,
                **groups.get(image_id, {}),
                **_split_name(image.file_name, split_names[image_id]),
            }
            for image_id, image in images.items()
        ],
        "annotations": annotations,
    }


def _check_entries(
    findings: Findings, kind: str, entries: _Entries, name: str, annotations: _Entries
) -> None:
    """Refuse images or categories without id or name, and annotations of none of them."""
    several = {"image": "images", "category": "categories"}[kind]
    findings.refuse(
        f"{several} without an integer id and a {name}",
        [
            json.dumps(entry)
            for entry in entries
            if type(entry.get("id")) is not int
            or not isinstance(entry.get(name), str)
            or not entry[name].strip()
        ],
        f"Every {kind} needs both: export the dataset again.",
    )
    findings.refuse(
        f"{kind} ids beyond 2^53, which not every program can tell from their neighbours",
        [str(entry["id"]) for entry in entries if abs(entry["id"]) > _LARGEST_ID],
        f"Renumber the {several}, and the {kind}_id of their annotations.",
    )
    findings.refuse(
        f"{several} whose {name} is not Unicode text (UTF-8)",
        [ascii(entry[name]) for entry in entries if not _is_text(entry[name])],
        f"Rename the {'file' if kind == 'image' else 'class'}, and export the dataset again.",
    )
    ids = Counter(entry["id"] for entry in entries)
    findings.refuse(
        f"{kind} ids used more than once",
        repeated(ids),
        f"Ids must be unique: renumber the {several}, and the {kind}_id of their annotations.",
    )
    references = [entry.get(f"{kind}_id") for entry in annotations]
    findings.refuse(
        f"annotations of {several} that are not listed, by {kind}_id",
        [repr(value) for value in references if type(value) is not int or value not in ids],
        f"Every {kind}_id must be the id of one of the {several}: add what is missing, or correct "
        "or remove the annotations.",
    )


def _licenses(declared: Any) -> list[dict[str, str]]:
    """Return names and addresses of the licenses that annotations declare, in lines of text."""
    entries = declared if isinstance(declared, list) else []
    found = [
        {
            key: " ".join(entry[key].split())
            for key in ("name", "url")
            if isinstance(entry.get(key), str) and _is_text(entry[key])
        }
        for entry in entries
        if isinstance(entry, dict)
    ]
    return [entry for entry in found if any(entry.values())]


def _is_text(name: str) -> bool:
    """Tell whether a name can be written as UTF-8; bytes of other encodings cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_file_names(findings: Findings, images: _Entries, image_root: Path) -> dict[int, str]:
    """Return file names relative to the image root, by image id."""
    root = os.path.abspath(image_root)
    if not _is_text(root):
        raise InputError(f"{root!a}: not a name in Unicode (UTF-8). Rename the folder.")
    paths = {image["id"]: Path(image["file_name"]) for image in images}
    paths = {
        image_id: path.relative_to(root) if path.is_relative_to(root) else path
        for image_id, path in paths.items()
    }
    findings.refuse(
        f"images outside the image root {image_root}",
        [str(path) for path in paths.values() if path.is_absolute() or ".." in path.parts],
        "A file_name must lie below the image root and not contain '..': set data-roots to a "
        "folder that holds all images, or correct the file names.",
    )
    file_names = {image_id: path.as_posix() for image_id, path in paths.items()}
    findings.refuse(
        "file names used by more than one image",
        repeated(file_names.values()),
        "Merge these entries, or correct their file names.",
    )
    findings.refuse(
        "file names without an image suffix",
        [name for name in file_names.values() if not name.lower().endswith(IMAGE_SUFFIXES)],
        f"Convert or rename the files to one of: {' '.join(IMAGE_SUFFIXES)}.",
    )
    return file_names


def _check_sizes(findings: Findings, images: _Entries) -> None:
    """Refuse declared sizes that are no numbers, such as texts."""
    sides = ("width", "height")
    findings.refuse(
        "images whose width or height is not a number",
        [
            f"{entry['file_name']} (" + ", ".join(f"{s}: {entry.get(s)!r}" for s in sides) + ")"
            for entry in images
            if not all(entry.get(side) is None or _is_number(entry[side]) for side in sides)
        ],
        "Expected pixels, such as 640, without quotes: correct or remove width and height.",
    )


def _tidy_names(findings: Findings, categories: _Entries) -> list[dict[str, Any]]:
    """Return categories with single spaces in their names; refuse names that do not print."""
    tidy = [entry | {"name": " ".join(entry["name"].split())} for entry in categories]
    findings.remark(
        "class names with line breaks, tabs or more spaces than needed, taken with single spaces",
        [repr(e["name"]) for e, t in zip(categories, tidy, strict=True) if e["name"] != t["name"]],
    )
    findings.refuse(
        "class names with control characters",
        [repr(e["name"]) for e in tidy if any(unicodedata.category(c) == "Cc" for c in e["name"])],
        "Rename the classes, and export the dataset again.",
    )
    return tidy


def _check_boxes(findings: Findings, annotations: _Entries, file_names: Mapping[int, str]) -> None:
    """Refuse boxes that are missing or not four finite numbers."""
    boxless = [entry for entry in annotations if not entry.get("bbox")]
    findings.refuse(
        "annotations without bbox"
        + (" (but with a segmentation)" if any("segmentation" in e for e in boxless) else ""),
        [
            file_names[entry["image_id"]] + (_origin(entry) or f" (id {entry.get('id')})")
            for entry in boxless
        ],
        "Every object needs a box [x, y, width, height] in pixels: export the boxes, too.",
    )
    flags = ("iscrowd", "ignore")
    findings.refuse(
        "annotations whose iscrowd or ignore is not 0 or 1",
        [
            file_names[entry["image_id"]] + (_origin(entry) or f" (id {entry.get('id')})")
            for entry in annotations
            if not all(entry.get(flag) in (None, 0, 1) for flag in flags)
        ],
        "Text such as '0' would count as 1: write numbers.",
    )
    findings.refuse(
        "annotations whose bbox is not four finite numbers",
        [
            f"{file_names[entry['image_id']]} {entry['bbox']!r}{_origin(entry)}"
            for entry in annotations
            if not _is_box(entry["bbox"])
        ],
        "Expected [x, y, width, height] in pixels: correct or remove these.",
    )


def _origin(annotation: Mapping[str, Any]) -> str:
    """Return where an annotation is in the user's files, if its reader says so."""
    return f" ({annotation['origin']})" if "origin" in annotation else ""


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


def _is_number(value: Any) -> bool:
    """Tell whether a value is a finite number; integers may have hundreds of digits."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _match_categories(
    findings: Findings, categories: _Entries, annotations: _Entries, classes: Sequence[str] | None
) -> tuple[list[str], dict[int, int]]:
    """Return the class names, and each class's number (from 1) by the file's category id."""
    names = {category["id"]: category["name"] for category in categories}
    boxes = Counter(entry["category_id"] for entry in annotations)
    findings.refuse(
        "class names shared by several categories with boxes",
        repeated(names[category_id] for category_id in boxes),
        "Names identify classes: if these are one class, give its boxes one category_id; otherwise "
        "rename them.",
    )
    # Of several categories of one name, take the one with boxes, or else the lowest id.
    chosen: dict[str, int] = {}
    for category_id in sorted(names, key=lambda category_id: (not boxes[category_id], category_id)):
        chosen.setdefault(names[category_id], category_id)
    if classes is None:
        parents = [
            entry.get("supercategory")
            for entry in categories
            if entry.get("supercategory") != entry["name"]
        ]
        classes = [
            names[category_id]
            for category_id in sorted(chosen.values())
            if boxes[category_id] or names[category_id] not in parents
        ]
        _check_likeness(findings, classes)
    findings.refuse(
        "classes with boxes that are not in the train subset",
        [
            f"{names[category_id]!r} ({count} boxes)"
            for category_id, count in sorted(boxes.items())
            if names[category_id] not in classes
        ],
        f"Classes of the train subset: {', '.join(map(repr, classes))}. Rename or remove these, or "
        "add them to the train subset.",
    )
    category_ids = {chosen[name]: k for k, name in enumerate(classes, start=1) if name in chosen}
    findings.remark(
        "categories without boxes, dropped (a supercategory, or not a class of the train subset)",
        [f"{names[unused]!r} (id {unused})" for unused in sorted(set(names) - set(category_ids))],
        logging.INFO,
    )
    return list(classes), category_ids


def _check_likeness(findings: Findings, classes: Sequence[str]) -> None:
    """Refuse names that readers or OpenVINO Model API cannot tell apart."""
    alike: dict[str, list[str]] = {}
    folded: dict[str, list[str]] = {}
    for name in classes:
        # Model API separates labels by spaces, so the exported model has underscores in names.
        text = unicodedata.normalize("NFC", name.replace(" ", "_"))
        seen = "".join(c for c in text if unicodedata.category(c) != "Cf")  # such as zero width
        alike.setdefault(seen, []).append(name)
        folded.setdefault(seen.casefold(), []).append(name)
    findings.refuse(
        "groups of class names that look the same, or differ in spaces and underscores only",
        [" and ".join(map(ascii, names)) for names in alike.values() if len(names) > 1],
        "Programs that run the exported model could not tell them apart. If they are one class, "
        "merge them (`data.classes`); otherwise rename them.",
    )
    findings.remark(
        "groups of class names that differ in upper and lower case only, kept apart",
        [" and ".join(map(repr, names)) for names in folded.values() if len(names) > 1],
    )


def _split_name(file_name: str, split_name: str) -> dict[str, str]:
    return {} if split_name == file_name else {"split_name": split_name}


def _select(
    findings: Findings,
    coco: Mapping[str, Any],
    names: Mapping[int, str],
    source: Source,
    classes: Sequence[str] | None,
) -> tuple[dict[str, Any], dict[int, dict[str, str]]]:
    """Return what a source takes of its annotations, and the group of each image that has one."""
    images, annotations, groups = coco["images"], coco["annotations"], {}
    if source.share:
        taken = in_share(findings, names, source.share)
        images = [entry for entry in images if entry["id"] in taken]
        annotations = [entry for entry in annotations if entry["image_id"] in taken]
        groups = {key: {"group": group} for key, group in taken.items() if group is not None}
    categories = coco["categories"]
    if source.classes:
        taken_of = {"categories": categories, "annotations": annotations}
        categories, annotations = merge_classes(findings, taken_of, source.classes, classes)
    return {"images": images, "annotations": annotations, "categories": categories}, groups


def _decode_images(
    findings: Findings, file_names: Mapping[int, str], image_root: Path
) -> dict[int, DecodedImage]:
    """Decode every image; return the results by image id."""
    remedy = (
        "Add what is missing, or name the folder that file names are relative to (data-roots; in a "
        "data.yaml of YOLO, path)."
    )
    if not image_root.is_dir():
        raise InputError(f"{image_root}: no such image folder.\n{remedy}")
    findings.refuse(
        f"image files missing in {image_root}",
        # Not `Path.is_file`, which raises an error for a name that is too long.
        [name for name in file_names.values() if not os.path.isfile(image_root / name)],
        remedy,
    )
    images = thread_map(
        partial(decode, image_root),
        file_names.values(),
        desc=f"Checking {findings.subject}",
        unit="image",
        mininterval=2,
    )
    findings.refuse(
        f"images in {image_root} that cannot be decoded",
        [image for image in images if isinstance(image, str)],
        "They are damaged, truncated, or in a format that OpenCV does not read: replace or convert "
        "them, or remove their entries.",
    )
    findings.refuse(
        f"images in {image_root} of more than 8 bits a channel",
        [f"{image.file_name} ({image.dtype})" for image in images if image.dtype != "uint8"],
        "OpenCV would drop the lower bits, and an image that uses few of the others gets nearly "
        "black. Convert all images by one scale, such as `image / 4095 * 255` for 12 bits.",
    )
    return dict(zip(file_names, images, strict=True))


def _in_pixels(coco: Mapping[str, Any], images: Mapping[int, DecodedImage]) -> dict[str, Any]:
    """Convert normalized boxes to pixels; images get their sizes, except those to turn upright."""
    annotations = []
    for entry in coco["annotations"]:
        width, height = images[entry["image_id"]].size
        scaled = np.multiply(entry["bbox"], (width, height, width, height)).tolist()
        annotations.append(entry | {"bbox": scaled})
    sizes = {
        image_id: {"width": image.width, "height": image.height}
        for image_id, image in images.items()
        if image.orientation not in range(2, 9)
    }
    entries = [entry | sizes.get(entry["id"], {}) for entry in coco["images"]]
    return {**coco, "images": entries, "annotations": annotations}


def _find_turned(
    findings: Findings, entries: _Entries, images: Mapping[int, DecodedImage]
) -> set[int]:
    """Compare declared with decoded sizes; return the ids of images whose boxes must be turned."""
    turned: set[int] = set()
    undeclared, unsure, contradicting = [], [], []
    for entry in entries:
        image = images[entry["id"]]
        declared = (entry.get("width"), entry.get("height"))
        if not all(declared):
            undeclared.append(image.file_name)
        elif declared == image.stored_size and image.is_turned:
            turned.add(entry["id"])
            continue
        elif declared != image.size:
            contradicting.append(
                f"{image.file_name} (declared {declared[0]}x{declared[1]}, "
                f"is {image.width}x{image.height})"
            )
        if image.orientation in range(2, 9) and not (all(declared) and image.is_turned):
            unsure.append(image.file_name)
    findings.refuse(
        "images whose width and height differ from those declared",
        contradicting,
        "Their boxes would be misplaced: export annotations and images together. If the boxes fit "
        "these images, remove width and height from the annotations.",
    )
    findings.remark(
        "images without declared width and height, read from the files", undeclared, logging.INFO
    )
    findings.remark(
        "images with an EXIF orientation that their declared size cannot confirm; their boxes are "
        "assumed to fit the upright image",
        unsure,
        logging.INFO,
    )
    findings.remark(
        "images declared with their size before EXIF orientation, boxes turned upright",
        [images[image_id].file_name for image_id in turned],
    )
    return turned


def _clean_annotations(
    findings: Findings,
    entries: _Entries,
    category_ids: Mapping[int, int],
    images: Mapping[int, DecodedImage],
    turned: set[int],
) -> list[dict[str, Any]]:
    """Return the annotations with boxes turned upright, clipped or dropped, and with new ids."""
    annotations: list[dict[str, Any]] = []
    crowds, clipped, flat, outside, small = [], [], [], [], []
    for entry in entries:
        image = images[entry["image_id"]]
        shown = ", ".join(f"{value:.6g}" for value in entry["bbox"])
        label = f"{image.file_name} [{shown}]{_origin(entry)}"
        box = [float(value) for value in entry["bbox"]]
        if min(box[2:]) <= 0:
            flat.append(label)
            continue
        if entry["image_id"] in turned:
            box = image.turn_upright(box)
        x, y, width, height = box
        left, top = max(x, 0.0), max(y, 0.0)
        right, bottom = min(x + width, float(image.width)), min(y + height, float(image.height))
        if left >= right or top >= bottom:
            outside.append(label)
            continue
        if min(right - left, bottom - top) < 1:
            small.append(label)
            continue
        outside_by = max(left - x, top - y, x + width - right, y + height - bottom)
        if outside_by > 0:
            box = [left, top, right - left, bottom - top]
        if outside_by >= 1:  # less comes from rounding, in hundreds of boxes of some exports
            clipped.append(label)
        iscrowd = int(bool(entry.get("iscrowd") or entry.get("ignore")))
        if iscrowd:
            crowds.append(label)
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": entry["image_id"],
                "category_id": category_ids[entry["category_id"]],
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": iscrowd,
            }
        )
    findings.remark("boxes without area, dropped", flat)
    findings.remark("boxes completely outside their image, dropped", outside)
    findings.remark("boxes less than one pixel wide or high, dropped", small)
    findings.remark(
        "boxes that overhang their image by a pixel or more, clipped (if there are many, check "
        "that bbox is [x, y, width, height] in pixels)",
        clipped,
    )
    findings.remark(
        "annotation ids used more than once, renumbered",
        repeated(entry["id"] for entry in entries if isinstance(entry.get("id"), int | str)),
    )
    findings.remark(
        "crowd annotations (or marked ignore or difficult), ignored in training and evaluation",
        crowds,
        logging.INFO,
    )
    return annotations


def _check_content(
    findings: Findings,
    names: Sequence[str],
    images: Mapping[int, DecodedImage],
    annotations: _Entries,
) -> None:
    """Refuse a subset without boxes; remark on images and classes without boxes."""
    boxes = [entry for entry in annotations if not entry["iscrowd"]]
    findings.refuse_if_empty(boxes, "boxes other than crowds")
    with_boxes = {entry["image_id"] for entry in annotations}
    findings.remark(
        "images without boxes, kept as background",
        [image.file_name for image_id, image in images.items() if image_id not in with_boxes],
        logging.INFO,
    )
    used = {entry["category_id"] for entry in boxes}
    findings.remark(
        "classes without boxes in this subset, kept",
        [repr(name) for k, name in enumerate(names, start=1) if k not in used],
    )
