"""Decode a dataset's images to learn their size, EXIF orientation and SHA-256."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Condition

import cv2
import numpy as np
from PIL import Image

from detmake.data.near_duplicates import dhash

_EXIF_ORIENTATION = 0x0112
#: As `IMREAD_COLOR`, which all later steps use, but with 16 bits where the file has them.
_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
#: Pixels of all images that are decoded at the same time. A larger image is decoded alone.
_MOST_PIXELS = 100_000_000

Image.MAX_IMAGE_PIXELS = None  # OpenCV has a limit of its own


@dataclass(frozen=True)
class DecodedImage:
    """Facts about one image file; sizes are in pixels."""

    file_name: str  # relative to the image root
    width: int  # upright: after the EXIF orientation is applied
    height: int
    stored_size: tuple[int, int]  # (width, height) before the EXIF orientation is applied
    orientation: int  # EXIF: 1 is upright, 5 to 8 swap width and height
    sha256: str  # of the file, hexadecimal
    dhash: str  # of the pixels, hexadecimal (`near_duplicates.dhash`); "" if they are not 8-bit
    dtype: str = "uint8"  # of the pixels as the file holds them

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, upright."""
        return self.width, self.height

    @property
    def is_turned(self) -> bool:
        """Whether decoding visibly swapped width and height; a square image never tells."""
        swapped = self.size == self.stored_size[::-1] != self.stored_size
        return swapped and self.orientation in (5, 6, 7, 8)

    def turn_upright(self, box: Sequence[float]) -> list[float]:
        """Convert an xywh box in pixels of the stored image to one of the upright image."""
        x, y, width, height = box
        stored_width, stored_height = self.stored_size
        right, bottom = stored_width - x - width, stored_height - y - height
        corners = {5: (y, x), 6: (bottom, x), 7: (bottom, right), 8: (y, right)}
        return [*corners[self.orientation], height, width]


def decode(image_root: Path, file_name: str) -> DecodedImage | str:
    """Decode an image; if that fails, return its name and, where known, the reason."""
    try:
        stored_size = _stored_size(image_root / file_name)
        with in_memory(*(stored_size or (0, 0))):
            content = (image_root / file_name).read_bytes()
            orientation = _orientation(content)
            sha256 = hashlib.sha256(content).hexdigest()
            # MMDetection decodes from memory, too. A truncated JPEG fails here; cv2.imread would
            # return it partly grey.
            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), _FLAGS)
            if pixels is None:
                return file_name
            height, width = pixels.shape[:2]
            dtype = str(pixels.dtype)
            difference_hash = dhash(pixels) if dtype == "uint8" else ""
            del content, pixels
    except (OSError, cv2.error) as error:  # cv2.error: an empty file, or too many pixels
        return f"{file_name} ({getattr(error, 'strerror', None) or 'empty, or too large'})"
    return DecodedImage(
        file_name,
        width,
        height,
        stored_size or (width, height),
        orientation,
        sha256=sha256,
        dhash=difference_hash,
        dtype=dtype,
    )


class _Share:
    """The pixels that threads have in memory together."""

    def __init__(self) -> None:
        self.taken = 0
        self.changed = Condition()


_SHARE = _Share()


@contextmanager
def in_memory(width: int, height: int) -> Iterator[None]:
    """Wait until an image fits into memory beside those of other threads (`_MOST_PIXELS`)."""
    pixels = min(width * height, _MOST_PIXELS)
    with _SHARE.changed:
        _SHARE.changed.wait_for(lambda: _SHARE.taken + pixels <= _MOST_PIXELS)
        _SHARE.taken += pixels
    try:
        yield
    finally:
        with _SHARE.changed:
            _SHARE.taken -= pixels
            _SHARE.changed.notify_all()


def _stored_size(path: Path) -> tuple[int, int] | None:
    """Return width and height in an image's header; None if unknown. Raises OSError."""
    with open(path, "rb") as file:
        try:
            with Image.open(file) as image:
                return image.size
        except Exception:  # OpenCV may decode it, so an error of Pillow does not matter
            return None


def _orientation(content: bytes) -> int:
    """Return the EXIF orientation of an image; 1 if unknown. Pillow may decode it for that."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # as above
        return 1
