"""Read CVAT for images 1.1: one XML file with the boxes and polygons of all images.

The form is that of https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/. Polygons and
masks become the boxes around them, and so do rotated boxes. Tracks of videos are refused.
"""

import math
import os
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from detmake.data.annotated import Annotated, Source
from detmake.data.findings import Findings
from detmake.data.formats.xml import parse
from detmake.errors import InputError
from detmake.image_files import is_image

_INTEGER = re.compile(r"\d{1,9}")
_FRAME_SUFFIXES = (".PNG", ".png", ".JPG", ".jpg")  # those of CVAT's own exports come first


def read(source: Source, findings: Findings) -> Annotated:
    """Read a subset.

    Raises:
        InputError: the file is not CVAT for images, has tracks, or a shape has other numbers than
            it should or a label that the file does not declare.
    """
    root = _root(source.annotations)
    findings.refuse(
        "tracks, which belong to a video",
        [f"track {element.get('id')}" for element in root.iterfind("track")],
        "Export the annotations again as `CVAT for images 1.1`.",
    )
    names = _labels(root)
    coco: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names)],
    }
    undeclared, faulty = [], []
    others: Counter[str] = Counter()
    for image_id, element in enumerate(root.iterfind("image"), start=1):
        image: dict[str, Any] = {"id": image_id, "file_name": _file_name(source.root, element)}
        for side in ("width", "height"):
            if _INTEGER.fullmatch(element.get(side, "")):
                image[side] = int(element.attrib[side])
        coco["images"].append(image)
        for number, shape in enumerate(element, start=1):
            origin = f"image {element.get('name')!r}, shape {number} ({shape.tag})"
            try:
                box = _box(shape)
            except KeyError as error:
                faulty.append(f"{origin}: it has no {error.args[0]}")
                continue
            except ValueError as error:
                faulty.append(f"{origin}: {error}")
                continue
            if box is None:
                others[shape.tag] += 1
            elif (label := shape.get("label", "")) not in names:
                undeclared.append(f"{origin}: {label!r}")
            else:
                entry = {"image_id": image_id, "category_id": names.index(label), "bbox": box}
                coco["annotations"].append(entry | {"origin": origin})
    subsets = Counter(element.get("subset", "") for element in root.iterfind("image"))
    if len(subsets) > 1:
        findings.remark(
            "subsets of CVAT in one file, all of which are taken (to keep them apart, export each "
            "one as a file of its own)",
            [f"{name or '(none)'} (images: {count})" for name, count in sorted(subsets.items())],
        )
    findings.refuse(
        "shapes without their numbers", faulty, "Export the annotations again, or correct these."
    )
    findings.refuse(
        "shapes whose label is not in meta",
        undeclared,
        f"Labels of the file: {', '.join(names) or 'none'}. Export the annotations again.",
    )
    findings.remark(
        "kinds of shapes that have no box, left out",
        [f"{tag} ({count})" for tag, count in others.items()],
    )
    return Annotated(coco, source.root)


def image_files(source: Source) -> dict[str, list[str]]:
    """Return the names that images may have by folder, relative to the root. Raises InputError."""
    names: dict[str, dict[str, None]] = defaultdict(dict)
    for element in _root(source.annotations).iterfind("image"):
        # Which of these there is may change while the annotation file stays the same.
        for name in _names(element):
            folder, base = os.path.split(name)
            names[folder][base] = None
    return {folder: list(bases) for folder, bases in names.items()}


def _labels(root: Element) -> list[str]:
    """Return the labels that the file declares, or else those that its shapes have."""
    declared = [element.text or "" for element in root.iterfind("meta//labels/label/name")]
    used = sorted({shape.get("label", "") for shape in root.iterfind("image/*")})
    return list(dict.fromkeys(declared or used))


def _root(file: Path) -> Element:
    try:
        return parse(file.read_bytes(), "annotations", str(file))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}).") from error


def _names(image: Element) -> list[str]:
    """Return the names that an image may have.

    Projects keep images in folders of their subsets. Tasks of videos name frames without a suffix.
    """
    name = image.get("name", "").replace("\\", "/")
    names = [name, os.path.join(image.get("subset", ""), name)]
    if not is_image(Path(name)):
        names += [name + suffix for suffix in _FRAME_SUFFIXES for name in names]
    return list(dict.fromkeys(names))


def _file_name(folder: Path, image: Element) -> str:
    """Return the name of an image: the first one that is there, or else the plain one."""
    names = _names(image)
    return next((name for name in names if os.path.isfile(folder / name)), names[0])


def _box(shape: Element) -> list[float] | None:
    """Return the xywh box around a shape in pixels; None for one that has no box.

    Raises:
        KeyError: an attribute is missing.
        ValueError: an attribute is not a number.
    """
    if shape.tag == "box":
        left, top, right, bottom = (float(shape.attrib[k]) for k in ("xtl", "ytl", "xbr", "ybr"))
        width, height = right - left, bottom - top
        if angle := math.radians(float(shape.get("rotation", 0))):  # about its centre
            sine, cosine = abs(math.sin(angle)), abs(math.cos(angle))
            around = (width * cosine + height * sine, width * sine + height * cosine)
            left, top = left + (width - around[0]) / 2, top + (height - around[1]) / 2
            width, height = around
        return [left, top, width, height]
    if shape.tag == "polygon":
        points = [point.split(",") for point in shape.attrib["points"].split(";")]
        xs, ys = [float(x) for x, _ in points], [float(y) for _, y in points]
        return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    if shape.tag == "mask":
        return [float(shape.attrib[k]) for k in ("left", "top", "width", "height")]
    return None
