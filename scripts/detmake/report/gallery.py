"""Pictures of the report: images with boxes that the page draws, and cut-outs of suspects."""

import base64
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from detmake.evaluation.error_types import classify
from detmake.evaluation.overlaps import Overlaps
from detmake.runtime import drawing
from detmake.runtime.images import read_image

#: Images of the gallery, and their longest side in pixels.
IMAGES, SIDE = 24, 960
#: Cut-outs of suspects, and their side in pixels.
CUTOUTS, CUTOUT_SIDE = 50, 200
#: Bytes of all pictures of the gallery, encoded: the page stays below 5 MB.
BUDGET = 3_000_000
_QUALITIES = (85, 70, 50, 30)  # of JPEG, the best one that keeps the budget


def image_costs(images: Sequence[Overlaps]) -> np.ndarray:
    """Return what the errors in each image cost: the F-measure that is lost to them, in [0, 1].

    Args:
        images: N overlaps at the confidence threshold.
    """
    counts = np.array(
        [[np.sum(one.matches >= 0), len(one.matches), len(one.labels)] for one in images]
    ).reshape(-1, 3)
    hits, detections, truths = counts.sum(axis=0)
    own = counts.T
    total = np.maximum(detections - own[1] + truths + own[2], 1)
    mended = 2 * (hits - own[0] + own[2]) / total
    return mended - 2 * hits / max(detections + truths, 1)


def worst_images(
    images: Sequence[Overlaps], root: Path, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the images whose errors cost most, for the page.

    Args:
        images: overlaps at the confidence threshold.
        root: folder of the images.
        classes: names of the classes.

    Returns:
        At most `IMAGES`: `name`, `width`, `height`, `cost` in [0, 1], `picture` (a data URI),
        `font_size` in pixels of the image, `truths` and `found` (boxes for the page), and which
        `errors` and `classes` have errors.
        Images that cannot be read are left out.
    """
    costs = image_costs(images)
    chosen = [at for at in np.argsort(-costs, kind="stable")[:IMAGES] if costs[at] > 0]
    pictures = {at: _read(root / images[at].image["file_name"]) for at in chosen}
    pictures = {at: _shrunk(one, SIDE) for at, one in pictures.items() if one is not None}
    for quality in _QUALITIES:
        encoded = {at: data_uri(drawing.jpeg(one, quality)) for at, one in pictures.items()}
        if sum(map(len, encoded.values())) <= BUDGET:
            break
    else:  # detailed images: as many as there is room for
        sizes = np.cumsum([len(one) for one in encoded.values()])
        encoded = dict(list(encoded.items())[: int(np.sum(sizes <= BUDGET))])
    return [
        {
            "name": images[at].image["file_name"],
            "width": images[at].image["width"],
            "height": images[at].image["height"],
            "cost": float(costs[at]),
            "picture": picture,
            **_boxes(images[at], classes),
        }
        for at, picture in encoded.items()
    ]


def cutouts(suspects: pd.DataFrame, root: Path) -> list[str | None]:
    """Return a cut-out of each of the first suspects, as data URIs; None if it cannot be read.

    Args:
        suspects: what `detmake.evaluation.label_errors.suspects` returns.
        root: folder of the images.
    """
    cut = []
    for row in suspects.head(CUTOUTS).itertuples():
        image = _read(root / row.file_name)
        if image is None:
            cut.append(None)
            continue
        reach = round(1.2 * max(row.width, row.height, 16))
        left, top = round(row.x + row.width / 2) - reach, round(row.y + row.height / 2) - reach
        padded = cv2.copyMakeBorder(image, *[reach] * 4, cv2.BORDER_CONSTANT, value=(128,) * 3)
        part = padded[top + reach :, left + reach :][: 2 * reach, : 2 * reach]
        factor = CUTOUT_SIDE / (2 * reach)
        how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        part = cv2.resize(part, (CUTOUT_SIDE, CUTOUT_SIDE), interpolation=how)
        x, y = row.x - left, row.y - top
        corners = np.multiply([x, y, x + row.width, y + row.height], factor)
        drawing.outline(part, corners, (255, 255, 255), 3)
        drawing.outline(part, corners, (40, 40, 220), 1)
        cut.append(data_uri(drawing.jpeg(part, 80)))
    return cut


def colours(classes: Sequence[str]) -> list[str]:
    """Return a colour of each class for CSS."""
    return [
        f"#{red:02x}{green:02x}{blue:02x}"
        for blue, green, red in drawing.class_colours(len(classes))
    ]


def _boxes(image: Overlaps, classes: Sequence[str]) -> Mapping[str, Any]:
    """Return the boxes of an image, which errors they are, and of which classes these are."""
    types, _, _ = classify(image)
    found = [
        {
            "box": box.round(1).tolist(),
            "label": int(label),
            "text": f"{classes[label]} {score:.2f}",
            "error": kind,
            "place": None,
        }
        for box, label, score, kind in zip(
            image.found.boxes, image.found.labels, image.found.scores, types, strict=True
        )
    ]
    truths = [
        {
            "box": box.round(1).tolist(),
            "label": int(label),
            "text": classes[label],
            "error": "" if hit else "missed",
            "place": None,
        }
        for box, label, hit in zip(image.boxes, image.labels, image.is_found, strict=True)
    ]
    size = image.image["width"] / 40
    for boxes in (found, truths):
        _place_texts([box for box in boxes if box["error"]], image.image, size)
        for box in boxes:
            left, top, right, bottom = box["box"]
            box["width"], box["height"] = round(right - left, 1), round(bottom - top, 1)
    wrong = [box for box in (*found, *truths) if box["error"]]
    return {
        "font_size": size,
        "truths": truths,
        "found": found[::-1],  # high scores on top
        "errors": sorted({box["error"] for box in wrong}),
        "classes": sorted({box["label"] for box in wrong}),
    }


def _place_texts(boxes: Sequence[dict], image: Mapping[str, Any], size: float) -> None:
    """Give boxes the place of their text's baseline, where there is room for it."""
    places = drawing.label_places(
        np.array([box["box"] for box in boxes]).reshape(-1, 4),
        [(size * _width(box["text"]), 1.2 * size) for box in boxes],
        (image["width"], image["height"]),
    )
    for box, place in zip(boxes, places, strict=True):
        box["place"] = place and [round(place[0], 1), round(place[1] + 0.95 * size, 1)]


def _width(line: str) -> float:
    """Return about how wide a browser draws a text, in sizes of the font."""
    return sum(1.0 if unicodedata.east_asian_width(c) in "WF" else 0.62 for c in line)


def _read(path: Path) -> np.ndarray | None:
    return read_image(path) if path.exists() else None


def _shrunk(image: np.ndarray, side: int) -> np.ndarray:
    factor = min(1.0, side / max(image.shape[:2]))
    size = tuple(max(1, round(factor * length)) for length in image.shape[1::-1])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def data_uri(picture: bytes, kind: str = "image/jpeg") -> str:
    """Return the content of a picture's file as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(picture).decode()}"
