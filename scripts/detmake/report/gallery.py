"""Pictures of the report: images with boxes that the page draws, and cut-outs of suspects."""

import base64
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from detmake.detections import Detections
from detmake.errors import InputError
from detmake.evaluation.error_types import classify
from detmake.evaluation.overlaps import Overlaps
from detmake.runtime import drawing
from detmake.runtime.images import read_image

#: Images of the gallery, and the longest side of a picture in pixels. Each exported model adds one
#: image, on which it differs from the snapshot: 24 in all.
IMAGES, SIDE = 21, 960
#: Cut-outs of suspects, and their side in pixels.
CUTOUTS, CUTOUT_SIDE = 50, 200
#: Bytes of all pictures of the gallery, encoded: the page stays below 5 MB.
BUDGET = 2_500_000
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
    files = {at: root / images[at].image["file_name"] for at in chosen}
    # No name holds an image while the next one is read: they may be large.
    pictures = {
        at: picture for at, file in files.items() if (picture := _picture(file)) is not None
    }
    for quality in _QUALITIES:
        encoded = {at: data_uri(drawing.jpeg(one, quality)) for at, one in pictures.items()}
        if sum(map(len, encoded.values())) <= BUDGET:
            break
    else:  # detailed images: as many as there is room for
        sizes = np.cumsum([len(one) for one in encoded.values()])
        encoded = dict(list(encoded.items())[: int(np.sum(sizes <= BUDGET))])
    return [
        {
            **_sized(images[at].image),
            "cost": float(costs[at]),
            "picture": picture,
            **_marked(images[at], classes),
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
        factor = CUTOUT_SIDE / (2 * reach)
        how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        # Resized before it is padded: the box may be as large as the image.
        part = np.full((CUTOUT_SIDE, CUTOUT_SIDE, 3), 128, np.uint8)
        seen = image[max(top, 0) : top + 2 * reach, max(left, 0) : left + 2 * reach]
        width, height = (max(1, round(factor * length)) for length in seen.shape[1::-1])
        seen = cv2.resize(seen, (width, height), interpolation=how)
        x, y = (round(factor * max(-start, 0)) for start in (left, top))
        part[y:, x:][:height, :width] = seen[: CUTOUT_SIDE - y, : CUTOUT_SIDE - x]
        x, y = row.x - left, row.y - top
        corners = np.multiply([x, y, x + row.width, y + row.height], factor)
        drawing.outline(part, corners, (255, 255, 255), 5)
        drawing.outline(part, corners, (40, 40, 220), 3)
        cut.append(data_uri(drawing.jpeg(part, 80)))
    return cut


def colours(classes: Sequence[str]) -> list[str]:
    """Return a colour of each class for CSS."""
    return [
        f"#{red:02x}{green:02x}{blue:02x}"
        for blue, green, red in drawing.class_colours(len(classes))
    ]


def difference(
    image: Mapping[str, Any],
    models: Sequence[tuple[Detections, np.ndarray]],
    root: Path,
    classes: Sequence[str],
) -> dict[str, Any] | None:
    """Return an image with what two models find in it, for the page; None if it cannot be read.

    Args:
        image: the image, of a prepared subset.
        models: what `detmake.evaluation.agreement.compare` returns.
        root: folder of the images.
        classes: names of the classes.

    Returns:
        `name`, `width`, `height`, `font_size`, `picture` and `sides`, the boxes of each model: an
        `error` is one that the other model lacks.
    """
    picture = _picture(root / image["file_name"])
    if picture is None:
        return None
    sides = []
    for found, is_shared in models:
        errors = np.where(is_shared, "", "only here")
        texts = [f"{classes[k]} {s:.2f}" for k, s in zip(found.labels, found.scores, strict=True)]
        sides.append(_boxes(image, found.boxes, found.labels, texts, errors)[::-1])
    shrunk = drawing.jpeg(picture, _QUALITIES[-2])
    return {**_sized(image), "picture": data_uri(shrunk), "sides": sides}


def _sized(image: Mapping[str, Any]) -> dict[str, Any]:
    size = {key: image[key] for key in ("width", "height")}
    return {"name": image["file_name"], **size, "font_size": image["width"] / 40}


def _marked(image: Overlaps, classes: Sequence[str]) -> dict[str, Any]:
    """Return the boxes of an image, which errors they are, and of which classes these are."""
    found, types = image.found, classify(image)[0]
    scored = [f"{classes[k]} {s:.2f}" for k, s in zip(found.labels, found.scores, strict=True)]
    detected = _boxes(image.image, found.boxes, found.labels, scored, types)
    names = [classes[label] for label in image.labels]
    missed = np.where(image.is_found, "", "missed")
    truths = _boxes(image.image, image.boxes, image.labels, names, missed)
    wrong = [box for box in (*detected, *truths) if box["error"]]
    return {
        "truths": truths,
        "found": detected[::-1],  # high scores on top
        "errors": sorted({box["error"] for box in wrong}),
        "classes": sorted({box["label"] for box in wrong}),
    }


def _boxes(
    image: Mapping[str, Any],
    corners: np.ndarray,
    labels: Iterable[int],
    texts: Iterable[str],
    errors: Iterable[str],
) -> list[dict[str, Any]]:
    """Return boxes, (N, 4) xyxy in pixels of the image, for the page; errors get a text."""
    boxes = [
        {
            "box": box.round(1).tolist(),
            "width": round(float(box[2] - box[0]), 1),
            "height": round(float(box[3] - box[1]), 1),
            "label": int(label),
            "text": text,
            "error": str(error),
            "place": None,
        }
        for box, label, text, error in zip(corners, labels, texts, errors, strict=True)
    ]
    _place_texts([box for box in boxes if box["error"]], image, image["width"] / 40)
    return boxes


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
    try:
        return read_image(path)
    except InputError:  # damaged, or not copied with the results
        return None


def _picture(path: Path) -> np.ndarray | None:
    image = _read(path)
    if image is None:
        return None
    factor = min(1.0, SIDE / max(image.shape[:2]))
    size = tuple(max(1, round(factor * length)) for length in image.shape[1::-1])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def data_uri(picture: bytes, kind: str = "image/jpeg") -> str:
    """Return the content of a picture's file as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(picture).decode()}"
