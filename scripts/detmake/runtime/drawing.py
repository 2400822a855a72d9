"""Draw detections into images, and arrange pictures in a contact sheet."""

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

from detmake.detections import Detections
from detmake.runtime import text

#: Longer side that pictures are enlarged to, about, so that labels do not hide the objects.
_LEGIBLE_SIDE = 900  # pixels
_TILE_WIDTH, _TILE_HEIGHT, _GAP = 400, 300, 8  # pixels
_CAPTION_HEIGHT = 24  # pixels


def class_colours(count: int) -> list[tuple[int, int, int]]:
    """Return BGR colours, 0 to 255, with distinct hues for any count (golden ratio)."""
    hues = [(0.6 + index * 0.618034) % 1 for index in range(count)]
    colours = [colorsys.hsv_to_rgb(hue, 0.85, 0.95) for hue in hues]
    return [(round(255 * b), round(255 * g), round(255 * r)) for r, g, b in colours]


def enlargement(image: np.ndarray) -> int:
    """Return the integer factor by which `draw` enlarges an image, (H, W, 3)."""
    return max(1, round(_LEGIBLE_SIDE / max(image.shape[:2])))


def draw(
    image: np.ndarray, found: Detections, labels: Sequence[str], with_scores: bool = True
) -> np.ndarray:
    """Return a picture of an image with boxes, labels and scores; high scores are on top.

    Labels do not overlap. In a crowded image, boxes with low scores may have none; the colour of a
    box tells its class.

    Args:
        image: (H, W, 3) uint8, BGR; left unchanged.
        found: the detections to draw, in pixels of the image, by descending score.
        labels: names of the classes.
        with_scores: whether the labels tell the scores; annotations have none.

    Returns:
        (k·H, k·W, 3) uint8, BGR, with the factor k of `enlargement`.
    """
    factor = enlargement(image)
    height, width = (factor * side for side in image.shape[:2])
    picture = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    line = max(2, round(max(width, height) / 500))
    colours = class_colours(len(labels))
    boxes = np.rint(found.boxes * factor).astype(int)
    for box, label in zip(boxes[::-1], found.labels[::-1], strict=True):
        outline(picture, box, colours[label], line)
    grounds = [
        _ground(picture, f"{labels[label]} {score:.2f}" if with_scores else labels[label])
        for label, score in zip(found.labels, found.scores, strict=True)
    ]
    sizes = [(ground.shape[1], ground.shape[0]) for ground in grounds]
    places = label_places(boxes, sizes, (width, height))
    for place, ground, label in zip(places, grounds, found.labels, strict=True):
        if place is not None:
            _write(picture, ground, place, colours[label])
    return picture


def outline(
    picture: np.ndarray, box: Sequence[float], colour: tuple[int, int, int], line: int
) -> None:
    """Draw a box, xyxy in pixels, `line` pixels wide, in a BGR colour."""
    left, top, right, bottom = (round(float(value)) for value in box)
    cv2.rectangle(picture, (left, top), (right, bottom), colour, line)


def label_places(
    boxes: np.ndarray, sizes: Sequence[tuple[float, float]], picture: tuple[float, float]
) -> list[tuple[float, float] | None]:
    """Find a place for the label of each box where it covers no other label.

    Args:
        boxes: (N, 4), xyxy in pixels, the most important first.
        sizes: N widths and heights of the labels.
        picture: width and height.

    Returns:
        The upper left corner of each label; None where there is no room.
    """
    taken, places = np.zeros((0, 4)), []
    for (left, top, right, bottom), (width, height) in zip(boxes, sizes, strict=True):
        size = np.array([width, height])
        rows = (top - height, bottom, top, bottom - height)  # beside the box, then inside
        wanted = np.array([(x, y) for y in rows for x in (left, right - width)])
        corners = np.clip(wanted, 0, np.maximum(picture - size, 0))
        corners = corners[np.argsort(corners[:, 1] != wanted[:, 1], kind="stable")]
        starts, ends = corners[:, np.newaxis], corners[:, np.newaxis] + size
        apart = (ends <= taken[:, :2]) | (starts >= taken[:, 2:])
        free = corners[apart.any(axis=2).all(axis=1)]
        if len(free):
            taken = np.vstack([taken, [*free[0], *(free[0] + size)]])
        places.append(tuple(free[0]) if len(free) else None)
    return places


def write_rate(picture: np.ndarray, images_per_second: float) -> None:
    """Write frames per second into the upper left corner of a picture."""
    _write(picture, _ground(picture, f"{images_per_second:.1f} frames/s"), (0, 0), (40, 40, 40))


def _ground(picture: np.ndarray, label: str) -> np.ndarray:
    """Return a label of legible size with a margin: (H, W) uint8, the share of ink."""
    pixels = max(14, round(max(picture.shape[:2]) / 60))
    margin = pixels // 5
    return np.pad(text.rendered(label, pixels), ((0, 0), (margin, margin)))


def _write(
    picture: np.ndarray,
    ground: np.ndarray,
    corner: tuple[float, float],
    colour: tuple[int, int, int],
) -> None:
    """Write a label (`_ground`) on a coloured background, with its upper left corner at (x, y)."""
    left, top = (round(value) for value in corner)
    below = picture[top : top + ground.shape[0], left : left + ground.shape[1]]
    share = ground[: below.shape[0], : below.shape[1], np.newaxis] / 255
    blue, green, red = colour
    is_bright = 0.114 * blue + 0.587 * green + 0.299 * red > 140  # luma of ITU-R BT.601
    ink = 0 if is_bright else 255
    below[:] = np.rint((1 - share) * colour + share * ink)


def tile(picture: np.ndarray, caption: str) -> np.ndarray:
    """Return a picture scaled down for a contact sheet, captioned: (324, 400, 3) uint8, BGR."""
    height, width = picture.shape[:2]
    factor = min((_TILE_WIDTH - _GAP) / width, _TILE_HEIGHT / height)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    framed = np.full((_TILE_HEIGHT + _CAPTION_HEIGHT, _TILE_WIDTH, 3), 255, np.uint8)
    framed[: size[1], : size[0]] = small
    _write(framed, text.rendered(caption, 14)[:_CAPTION_HEIGHT], (0, size[1] + 4), (255,) * 3)
    return framed


def contact_sheet(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """Arrange one or more tiles (`tile`) in rows of up to 4: (R·324, C·400, 3) uint8, BGR."""
    columns = min(4, len(tiles))
    blank = np.full_like(tiles[0], 255)
    padded = [*tiles, *[blank] * (-len(tiles) % columns)]
    rows = [np.hstack(padded[i : i + columns]) for i in range(0, len(padded), columns)]
    return np.vstack(rows)


def jpeg(picture: np.ndarray, quality: int = 95) -> bytes:
    """Return a picture, (H, W, 3) uint8, BGR, as the content of a JPEG file."""
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
