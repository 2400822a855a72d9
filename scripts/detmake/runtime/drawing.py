"""Draw detections into images, and arrange pictures in a contact sheet."""

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

from detmake.detections import Detections

_FONT = cv2.FONT_HERSHEY_SIMPLEX  # has Latin letters only
#: Longer side that pictures are enlarged to, about, so that labels do not hide the objects.
_LEGIBLE_SIDE = 900  # pixels
_TILE_WIDTH, _TILE_HEIGHT = 400, 300  # pixels
_CAPTION_HEIGHT = 24  # pixels


def class_colours(count: int) -> list[tuple[int, int, int]]:
    """Return BGR colours, 0 to 255, with distinct hues for any count (golden ratio)."""
    hues = [(0.6 + index * 0.618034) % 1 for index in range(count)]
    colours = [colorsys.hsv_to_rgb(hue, 0.85, 0.95) for hue in hues]
    return [(round(255 * b), round(255 * g), round(255 * r)) for r, g, b in colours]


def enlargement(image: np.ndarray) -> int:
    """Return the integer factor by which `draw` enlarges an image, (H, W, 3)."""
    return max(1, round(_LEGIBLE_SIDE / max(image.shape[:2])))


def draw(image: np.ndarray, found: Detections, labels: Sequence[str]) -> np.ndarray:
    """Return a picture of an image with boxes, labels and scores; high scores are on top.

    Args:
        image: (H, W, 3) uint8, BGR; left unchanged.
        found: the detections to draw, in pixels of the image, by descending score.
        labels: names of the classes.

    Returns:
        (k·H, k·W, 3) uint8, BGR, with the factor k of `enlargement`.
    """
    factor = enlargement(image)
    height, width = (factor * side for side in image.shape[:2])
    picture = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    line = max(2, round(max(width, height) / 500))
    colours = class_colours(len(labels))
    boxes = np.rint(found.boxes * factor).astype(int)
    entries = list(zip(boxes, found.scores, found.labels, strict=True))[::-1]
    for box, _, label in entries:
        cv2.rectangle(picture, box[:2].tolist(), box[2:].tolist(), colours[label], line)
    for (x, y, *_), score, label in entries:
        _write(picture, f"{labels[label]} {score:.2f}", (int(x), int(y)), colours[label])
    return picture


def write_rate(picture: np.ndarray, images_per_second: float) -> None:
    """Write frames per second into the upper left corner of a picture."""
    _write(picture, f"{images_per_second:.1f} frames/s", (0, 0), (40, 40, 40))


def _write(
    picture: np.ndarray, text: str, corner: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    """Write on a coloured background above a corner (x, y), or below it for lack of room."""
    height, width = picture.shape[:2]
    pixels = max(11, round(max(width, height) / 75))
    line = max(1, round(pixels / 12))
    scale = cv2.getFontScaleFromHeight(_FONT, pixels, line)
    (text_width, text_height), below = cv2.getTextSize(text, _FONT, scale, line)
    margin = line + 1
    ground_height = text_height + below + 2 * margin
    left = max(0, min(corner[0], width - text_width - 2 * margin))
    top = corner[1] - ground_height if corner[1] >= ground_height else max(corner[1], 0)
    top = max(0, min(top, height - ground_height))
    right, bottom = left + text_width + 2 * margin, top + ground_height
    cv2.rectangle(picture, (left, top), (right, bottom), colour, cv2.FILLED)
    blue, green, red = colour
    is_bright = 0.114 * blue + 0.587 * green + 0.299 * red > 140  # luma of ITU-R BT.601
    ink = (0, 0, 0) if is_bright else (255, 255, 255)
    origin = (left + margin, bottom - margin - below)
    cv2.putText(picture, text, origin, _FONT, scale, ink, line, cv2.LINE_AA)


def tile(picture: np.ndarray, caption: str) -> np.ndarray:
    """Return a picture scaled down for a contact sheet, captioned: (324, 400, 3) uint8, BGR."""
    height, width = picture.shape[:2]
    factor = min(_TILE_WIDTH / width, _TILE_HEIGHT / height)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    framed = np.full((_TILE_HEIGHT + _CAPTION_HEIGHT, _TILE_WIDTH, 3), 255, np.uint8)
    framed[: size[1], : size[0]] = small
    scale = cv2.getFontScaleFromHeight(_FONT, 11, 1)
    origin = (4, size[1] + 17)
    cv2.putText(framed, caption, origin, _FONT, scale, (0, 0, 0), 1, cv2.LINE_AA)
    return framed


def contact_sheet(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """Arrange one or more tiles (`tile`) in rows of up to 4: (R·324, C·400, 3) uint8, BGR."""
    columns = min(4, len(tiles))
    blank = np.full_like(tiles[0], 255)
    padded = [*tiles, *[blank] * (-len(tiles) % columns)]
    rows = [np.hstack(padded[i : i + columns]) for i in range(0, len(padded), columns)]
    return np.vstack(rows)
