"""Users' datasets in COCO form: checked, repaired or refused, and written for all later steps."""

import hashlib
import io
import json
import logging
import math
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from detmake.errors import InputError
from detmake.image_files import IMAGE_SUFFIXES

_EXIF_ORIENTATION = 0x0112
_EXAMPLES = 5  # that a message about many things shows

log = logging.getLogger("detmake")


def prepare(
    annotation_file: Path, image_root: Path, classes: Sequence[str] | None = None
) -> dict[str, Any]:
    """Check one subset of a user's dataset, images included, and return it in a clean form.

    What can be repaired is repaired, and logged as a remark; anything else is refused.

    - Classes are matched by name, so category ids may differ between subsets. Two categories with
      boxes may not share a name. Categories without boxes are dropped where they are only the
      supercategory of others (as Roboflow writes them) or double another one's name. Other classes
      without boxes are kept: they are part of the label schema that the user declared.
    - Boxes are clipped to their image; those without area, outside of it, or less than one pixel
      wide or high (which MMDetection would leave out of training only) are dropped.
    - Images count upright, as OpenCV and MMDetection decode them. Where an image is turned by its
      EXIF orientation and the annotation file has its size before that, its boxes are turned too.
      Other boxes are taken as they are.
    - Absolute file names are accepted below `image_root`. Image ids are kept. Annotation ids are
      numbered anew: pycocotools takes a match with annotation 0 for none.

    Args:
        annotation_file: COCO annotation file; boxes are xywh in pixels.
        image_root: Folder that its file names count from.
        classes: Class names of the train subset; None if this is the train subset.

    Returns:
        A COCO dictionary. `categories`: `id` (1..K) and `name`, all of `classes` in their order, or
        for the train subset its own in the order of their ids. `images`: `id`, `file_name`
        (relative to `image_root`), `width` and `height` (decoded, upright) and `sha256` (of the
        file). `annotations`: `id` (from 1), `image_id`, `category_id`, `bbox` (four floats: xywh
        in pixels, within the image), `area` (of the box) and `iscrowd` (1 also for annotations
        marked `ignore`). `info`: `image_root`, `annotation_file` and `remarks` (list of str).

    Raises:
        InputError: the annotation file is missing or no COCO detection file; ids, names or sizes
            contradict one another; boxes are no four finite numbers, or of a class that `classes`
            lacks; images are missing, outside `image_root`, or do not decode; there are no images
            or no boxes.
    """
    coco = _read_annotation_file(annotation_file)
    findings = _Findings(annotation_file)
    findings.refuse_if_empty(coco["images"], "images")
    findings.refuse_if_empty(coco["annotations"], "annotations")
    file_names = _check_file_names(findings, coco["images"], image_root)
    _check_annotations(findings, coco["annotations"], file_names)
    names, category_ids = _match_categories(
        findings, coco["categories"], coco["annotations"], classes
    )
    images = _decode_images(findings, file_names, image_root)
    turned = _find_turned(findings, coco["images"], images)
    annotations = _clean_annotations(findings, coco["annotations"], category_ids, images, turned)
    _check_content(findings, names, images, annotations)
    return {
        "info": {
            "image_root": str(image_root),
            "annotation_file": str(annotation_file),
            "remarks": findings.remarks,
        },
        "categories": [{"id": k, "name": name} for k, name in enumerate(names, start=1)],
        "images": [
            {
                "id": image_id,
                "file_name": image.file_name,
                "width": image.width,
                "height": image.height,
                "sha256": image.sha256,
            }
            for image_id, image in images.items()
        ],
        "annotations": annotations,
    }


class _Findings:
    """What is found in an annotation file: remarks, collected and logged, or a refusal."""

    def __init__(self, annotation_file: Path) -> None:
        self.annotation_file = annotation_file
        self.remarks: list[str] = []

    def refuse(self, what: str, items: Sequence[str], remedy: str) -> None:
        """Raise InputError where there are such items."""
        if items:
            raise InputError(f"{self.annotation_file}: {_listed(what, items)}\n{remedy}")

    def refuse_if_empty(self, entries: Sequence[Any], what: str) -> None:
        """Raise InputError where there are no entries, with the remarks that may explain it."""
        if not entries:
            raise InputError(
                "\n".join([f"{self.annotation_file}: there are no {what}.", *self.remarks])
                + "\nA subset needs images with boxes, to learn from or to measure with: correct "
                "the annotation file, or let `data` point at another one."
            )

    def repaired(self, what: str, items: Sequence[str]) -> None:
        """Remark on what was amended or should be looked at."""
        self._remark(logging.WARNING, what, items)

    def noted(self, what: str, items: Sequence[str]) -> None:
        """Remark on what is in order, but good to know."""
        self._remark(logging.INFO, what, items)

    def _remark(self, level: int, what: str, items: Sequence[str]) -> None:
        if items:
            self.remarks.append(_listed(what, items))
            log.log(level, "%s: %s", self.annotation_file, self.remarks[-1])


def _listed(what: str, items: Sequence[str]) -> str:
    more = ", …" if len(items) > _EXAMPLES else ""
    return f"{len(items)} {what}: {', '.join(items[:_EXAMPLES])}{more}"


def _read_annotation_file(path: Path) -> dict[str, Any]:
    expected = (
        "Expected is a COCO detection file: a JSON object with the lists images, annotations and "
        "categories. Export the dataset in COCO format, and let ann-files name that file."
    )
    try:
        coco = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).\n{expected}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error}).\n{expected}") from error
    if not isinstance(coco, dict):
        raise InputError(f"{path}: holds a JSON {type(coco).__name__}.\n{expected}")
    for key in ("images", "annotations", "categories"):
        if key not in coco:
            found = ", ".join(map(repr, list(coco)[:10])) or "none"
            raise InputError(f"{path}: lacks the key {key!r}; its keys: {found}.\n{expected}")
        entries = coco[key]
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise InputError(f"{path}: {key!r} is not a list of JSON objects.\n{expected}")
    return coco


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _repeated(values: Iterable[Any]) -> list[str]:
    return [repr(value) for value, count in Counter(values).items() if count > 1]


def _check_file_names(
    findings: _Findings, images: Sequence[Mapping[str, Any]], image_root: Path
) -> dict[int, str]:
    """Return the file name of each image, relative to the image root, by image id."""
    findings.refuse(
        "images without an integer id and a file_name",
        [
            json.dumps(image)
            for image in images
            if not isinstance(image.get("id"), int) or not _is_name(image.get("file_name"))
        ],
        "Every image needs both: export the dataset again.",
    )
    findings.refuse(
        "image ids given more than once",
        _repeated(image["id"] for image in images),
        "Ids must be unique: number the images anew, and the image_id of annotations with them.",
    )
    root = os.path.abspath(image_root)
    paths = {image["id"]: Path(image["file_name"]) for image in images}
    paths = {
        image_id: path.relative_to(root) if path.is_relative_to(root) else path
        for image_id, path in paths.items()
    }
    findings.refuse(
        f"images outside the image root {image_root}",
        [str(path) for path in paths.values() if path.is_absolute() or ".." in path.parts],
        "A file_name is relative to the image root, without '..': let data-roots name a folder "
        "that holds all images, and correct the file names.",
    )
    file_names = {image_id: path.as_posix() for image_id, path in paths.items()}
    findings.refuse(
        "file names given to more than one image",
        _repeated(file_names.values()),
        "Merge their entries, or name the right files.",
    )
    findings.refuse(
        "file names without the suffix of an image",
        [name for name in file_names.values() if not name.lower().endswith(IMAGE_SUFFIXES)],
        f"Save or name the files as one of: {' '.join(IMAGE_SUFFIXES)}.",
    )
    return file_names


def _check_annotations(
    findings: _Findings, annotations: Sequence[Mapping[str, Any]], file_names: Mapping[int, str]
) -> None:
    """Refuse annotations of unknown images, and boxes that are no four finite numbers."""
    findings.refuse(
        "annotations of images that are not listed, by image_id",
        [
            repr(entry.get("image_id"))
            for entry in annotations
            if not _is_id(entry.get("image_id"), file_names)
        ],
        "Every image_id must be the id of an entry in images: add the images, or remove the "
        "annotations.",
    )
    boxless = [entry for entry in annotations if not entry.get("bbox")]
    findings.refuse(
        "annotations without bbox"
        + (" (but with a segmentation)" if any("segmentation" in e for e in boxless) else ""),
        [f"{file_names[entry['image_id']]} (id {entry.get('id')})" for entry in boxless],
        "Detection needs a box [x, y, width, height] in pixels for every object: export boxes too.",
    )
    findings.refuse(
        "annotations whose bbox is no four finite numbers",
        [
            f"{file_names[entry['image_id']]} {entry['bbox']!r}"
            for entry in annotations
            if not _is_box(entry["bbox"])
        ],
        "Expected is [x, y, width, height] in pixels: correct or remove these.",
    )


def _is_id(value: Any, ids: Mapping[int, Any]) -> bool:
    return isinstance(value, int) and value in ids


def _is_box(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 4
        and all(isinstance(number, int | float) and math.isfinite(number) for number in value)
    )


def _match_categories(
    findings: _Findings,
    categories: Sequence[Mapping[str, Any]],
    annotations: Sequence[Mapping[str, Any]],
    classes: Sequence[str] | None,
) -> tuple[list[str], dict[int, int]]:
    """Return the class names, and their number from 1 by the file's category id."""
    findings.refuse(
        "categories without an integer id and a name",
        [
            json.dumps(category)
            for category in categories
            if not isinstance(category.get("id"), int) or not _is_name(category.get("name"))
        ],
        "Every category needs both: export the dataset again.",
    )
    findings.refuse(
        "category ids given more than once",
        _repeated(category["id"] for category in categories),
        "Ids must be unique: number the categories anew, and the annotations with them.",
    )
    names = {category["id"]: category["name"] for category in categories}
    findings.refuse(
        "annotations of categories that are not listed, by category_id",
        [
            repr(entry.get("category_id"))
            for entry in annotations
            if not _is_id(entry.get("category_id"), names)
        ],
        "Every category_id must be the id of an entry in categories: add the categories, or "
        "correct the annotations.",
    )
    boxes = Counter(entry["category_id"] for entry in annotations)
    findings.refuse(
        "class names of more than one category with boxes",
        _repeated(names[category_id] for category_id in boxes),
        "Classes are told apart by name: if they are one class, give its boxes one category_id; "
        "if not, rename them.",
    )
    # Of the categories of one name, the one with boxes, or else the one with the lowest id.
    chosen: dict[str, int] = {}
    for category_id in sorted(names, key=lambda category_id: (not boxes[category_id], category_id)):
        chosen.setdefault(names[category_id], category_id)
    if classes is None:
        parents = [
            category.get("supercategory")
            for category in categories
            if category.get("supercategory") != category["name"]
        ]
        classes = [
            names[category_id]
            for category_id in sorted(chosen.values())
            if boxes[category_id] or names[category_id] not in parents
        ]
    findings.refuse(
        "classes with boxes that the train subset does not have",
        [
            f"{names[category_id]!r} ({count} boxes)"
            for category_id, count in sorted(boxes.items())
            if names[category_id] not in classes
        ],
        f"Classes of the train subset: {', '.join(map(repr, classes))}. Rename or remove these, or "
        "add them to the train subset.",
    )
    category_ids = {chosen[name]: k for k, name in enumerate(classes, start=1) if name in chosen}
    findings.noted(
        "categories without boxes that stand for no class of their own, dropped",
        [
            f"{names[category_id]!r} (id {category_id})"
            for category_id in sorted(set(names) - set(category_ids))
        ],
    )
    return list(classes), category_ids


@dataclass(frozen=True)
class _Image:
    file_name: str
    width: int  # as decoded, upright
    height: int
    stored_size: tuple[int, int]  # (width, height) before it is turned upright
    orientation: int  # EXIF: 1 is upright, 5 to 8 swap width and height
    sha256: str

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height

    @property
    def is_turned(self) -> bool:
        """Whether its size shows that decoding turned it by its EXIF orientation."""
        swapped = self.size == self.stored_size[::-1] != self.stored_size
        return swapped and self.orientation in (5, 6, 7, 8)


def _decode_images(
    findings: _Findings, file_names: Mapping[int, str], image_root: Path
) -> dict[int, _Image]:
    """Decode every image, and return what they are like by image id."""
    remedy = "Let data-roots name the folder that each file_name counts from, or complete it."
    if not image_root.is_dir():
        raise InputError(f"{image_root}: no such folder of images.\n{remedy}")
    findings.refuse(
        f"image files missing in {image_root}",
        [name for name in file_names.values() if not (image_root / name).is_file()],
        remedy,
    )
    with ThreadPoolExecutor() as pool:
        decoding = pool.map(partial(_decode, image_root), file_names.values())
        label, total = f"Checking {findings.annotation_file}", len(file_names)
        interval = 0.1 if sys.stderr.isatty() else 10  # seconds; a log file gets few lines
        images = list(tqdm(decoding, label, total, unit="image", mininterval=interval))
    findings.refuse(
        f"images in {image_root} that cannot be decoded",
        [image for image in images if isinstance(image, str)],
        "They are damaged, cut short, or in a format that OpenCV does not read: get or save them "
        "anew, or remove their entries.",
    )
    return dict(zip(file_names, images, strict=True))


def _decode(image_root: Path, file_name: str) -> _Image | str:
    """Return what an image is like, or its name and why it cannot be decoded."""
    try:
        content = (image_root / file_name).read_bytes()
        # As MMDetection loads images. From memory, a JPEG that is cut short does not decode; by
        # cv2.imread it does, grey in part.
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error) as error:  # cv2.error: an empty file, or too many pixels
        return f"{file_name} ({getattr(error, 'strerror', None) or 'empty, or too large'})"
    if pixels is None:
        return file_name
    height, width = pixels.shape[:2]
    try:
        with Image.open(io.BytesIO(content)) as image:
            stored_size, orientation = image.size, image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # what OpenCV decodes is sound, whatever Pillow makes of it
        stored_size, orientation = (width, height), 1
    digest = hashlib.sha256(content).hexdigest()
    return _Image(file_name, width, height, stored_size, orientation, digest)


def _find_turned(
    findings: _Findings, entries: Sequence[Mapping[str, Any]], images: Mapping[int, _Image]
) -> set[int]:
    """Compare declared sizes with images; return ids of those whose boxes are yet to be turned."""
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
        "images whose width and height are not as declared",
        contradicting,
        "Their boxes would be in the wrong places: export annotations and images together, or "
        "remove width and height of the entries if the boxes are right for these images.",
    )
    findings.noted("images without width and height, taken from the files", undeclared)
    findings.noted(
        "images with an EXIF orientation that their declared size cannot confirm; boxes are taken "
        "to fit the image as OpenCV decodes it, upright",
        unsure,
    )
    findings.repaired(
        "images declared with their size before EXIF orientation, boxes turned with them",
        [images[image_id].file_name for image_id in turned],
    )
    return turned


def _turn_upright(box: Sequence[float], image: _Image) -> list[float]:
    """Turn an xywh box in pixels of the stored image into one of the upright image."""
    x, y, width, height = box
    stored_width, stored_height = image.stored_size
    right, bottom = stored_width - x - width, stored_height - y - height
    left, top = {5: (y, x), 6: (bottom, x), 7: (bottom, right), 8: (y, right)}[image.orientation]
    return [left, top, height, width]


def _clean_annotations(
    findings: _Findings,
    entries: Sequence[Mapping[str, Any]],
    category_ids: Mapping[int, int],
    images: Mapping[int, _Image],
    turned: set[int],
) -> list[dict[str, Any]]:
    annotations: list[dict[str, Any]] = []
    crowds, clipped, flat, outside, small = [], [], [], [], []
    for entry in entries:
        image = images[entry["image_id"]]
        label = f"{image.file_name} {entry['bbox']}"
        box = [float(value) for value in entry["bbox"]]
        if min(box[2:]) <= 0:
            flat.append(label)
            continue
        if entry["image_id"] in turned:
            box = _turn_upright(box, image)
        x, y, width, height = box
        left, top = max(x, 0.0), max(y, 0.0)
        right, bottom = min(x + width, float(image.width)), min(y + height, float(image.height))
        if left >= right or top >= bottom:
            outside.append(label)
            continue
        if min(right - left, bottom - top) < 1:
            small.append(label)
            continue
        if (left, top, right, bottom) != (x, y, x + width, y + height):
            clipped.append(label)
            box = [left, top, right - left, bottom - top]
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
    findings.repaired("boxes without area, dropped", flat)
    findings.repaired("boxes wholly outside their image, dropped", outside)
    findings.repaired("boxes less than one pixel wide or high, dropped", small)
    findings.repaired(
        "boxes partly outside their image, clipped (if these are many: is bbox [x, y, width, "
        "height] in pixels?)",
        clipped,
    )
    findings.repaired(
        "annotation ids given more than once, numbered anew",
        _repeated(entry["id"] for entry in entries if isinstance(entry.get("id"), int | str)),
    )
    findings.noted("crowd annotations, neither learned nor counted", crowds)
    return annotations


def _check_content(
    findings: _Findings,
    names: Sequence[str],
    images: Mapping[int, _Image],
    annotations: Sequence[Mapping[str, Any]],
) -> None:
    """Refuse a subset without boxes; remark on images and classes without."""
    boxes = [entry for entry in annotations if not entry["iscrowd"]]
    findings.refuse_if_empty(boxes, "boxes, crowds aside")
    with_boxes = {entry["image_id"] for entry in annotations}
    findings.noted(
        "images without boxes, kept as background",
        [image.file_name for image_id, image in images.items() if image_id not in with_boxes],
    )
    used = {entry["category_id"] for entry in boxes}
    findings.repaired(
        "classes without boxes in this subset, kept",
        [repr(name) for k, name in enumerate(names, start=1) if k not in used],
    )
