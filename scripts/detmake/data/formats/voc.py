"""Read Pascal VOC annotations.

Like every reader in this package, it returns a COCO dictionary: `images`, `annotations` (boxes as
xywh in pixels) and `categories`, which `checking.prepare` accepts as a JSON file.
"""

import logging
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

from detmake.errors import InputError

log = logging.getLogger("detmake")


def coco_from_voc(
    annotations: Mapping[str, bytes], classes: Sequence[str], supercategory: str
) -> dict[str, Any]:
    """Convert Pascal VOC annotations to a COCO dictionary in the form of a Roboflow export.

    A box (xmin, ymin, xmax, ymax) in pixels becomes xywh (xmin, ymin, xmax - xmin, ymax - ymin).
    This omits the pixel that VOC's inclusive corners would add, so that BCCD's boxes equal those of
    its COCO version on Roboflow Universe (bccd/3). Boxes without area are dropped and counted in
    the log. VOC's `difficult` and `truncated` are not kept: COCO has no such fields.

    Args:
        annotations: XML document by image file name; images get ids from 0 in this order.
        classes: class names; they get category ids from 1 in this order.
        supercategory: name of category 0, which has no boxes and is the parent of all classes.

    Returns:
        A COCO dictionary, with empty `info` and `licenses`.

    Raises:
        InputError: a document is not a VOC annotation, or has a class that is not in `classes`.
    """
    images: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    dropped: list[str] = []
    for image_id, (file_name, document) in enumerate(annotations.items()):
        height, width, objects = _parse(file_name, document)
        images.append({"id": image_id, "file_name": file_name, "height": height, "width": width})
        for name, (xmin, ymin, xmax, ymax) in objects:
            if name not in classes:
                raise InputError(
                    f"{file_name}: found the class {name!r} in its annotation; "
                    f"expected one of: {', '.join(classes)}."
                )
            if xmax <= xmin or ymax <= ymin:
                dropped.append(f"{file_name} {[xmin, ymin, xmax, ymax]}")
                continue
            boxes.append(
                {
                    "id": len(boxes),
                    "image_id": image_id,
                    "category_id": classes.index(name) + 1,
                    "bbox": [xmin, ymin, xmax - xmin, ymax - ymin],
                    "area": (xmax - xmin) * (ymax - ymin),
                    "segmentation": [],
                    "iscrowd": 0,
                }
            )
    if dropped:
        count = f"{len(dropped)} of {len(dropped) + len(boxes)}"
        log.warning("%s boxes have no area and were dropped; first: %s", count, dropped[0])
    return {
        "info": {},
        "licenses": [],
        "categories": [
            {"id": k, "name": name, "supercategory": supercategory if k else "none"}
            for k, name in enumerate([supercategory, *classes])
        ],
        "images": images,
        "annotations": boxes,
    }


def _parse(file_name: str, document: bytes) -> tuple[int, int, list[tuple[str, list[int]]]]:
    """Return height, width and the (class, [xmin, ymin, xmax, ymax]) of one VOC document."""

    def text(element: ET.Element, path: str) -> str:
        found = element.findtext(path)
        if found is None:
            raise ValueError(f"<{element.tag}> without {path}")
        return found

    try:
        root = ET.fromstring(document)
        height, width = (int(text(root, f"size/{side}")) for side in ("height", "width"))
        objects = [
            (
                text(element, "name"),
                [int(text(element, f"bndbox/{k}")) for k in ("xmin", "ymin", "xmax", "ymax")],
            )
            for element in root.iterfind("object")
        ]
    except (ET.ParseError, ValueError) as error:
        raise InputError(
            f"{file_name}: its annotation is not Pascal VOC ({error}); expected XML with size and, "
            "for each object, name and bndbox in whole pixels."
        ) from error
    return height, width, objects
