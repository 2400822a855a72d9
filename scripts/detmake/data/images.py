"""Decode a dataset's images to learn their size, EXIF orientation and SHA-256."""

import hashlib
import io
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import cv2
import numpy as np
from PIL import Image

from detmake.data.near_duplicates import dhash

_EXIF_ORIENTATION = 0x0112
#: As `IMREAD_COLOR`, which all later steps use, but with 16 bits where the file has them.
_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
#: Images of more pixels are decoded one at a time: one of 400 megapixels takes over a gigabyte.
_LARGE_PIXELS = 50_000_000
_LARGE = Lock()

Image.MAX_IMAGE_PIXELS = None  # Pillow reads headers only


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
        content = (image_root / file_name).read_bytes()
        stored_size, orientation = _header(content)
        with _LARGE if stored_size and math.prod(stored_size) > _LARGE_PIXELS else nullcontext():
            # MMDetection decodes from memory, too. A truncated JPEG fails here; cv2.imread would
            # return it partly grey.
            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), _FLAGS)
            if pixels is None:
                return file_name
            height, width = pixels.shape[:2]
            dtype = str(pixels.dtype)
            difference_hash = dhash(pixels) if dtype == "uint8" else ""
            del pixels
    except (OSError, cv2.error) as error:  # cv2.error: an empty file, or too many pixels
        return f"{file_name} ({getattr(error, 'strerror', None) or 'empty, or too large'})"
    return DecodedImage(
        file_name,
        width,
        height,
        stored_size or (width, height),
        orientation,
        sha256=hashlib.sha256(content).hexdigest(),
        dhash=difference_hash,
        dtype=dtype,
    )


def _header(content: bytes) -> tuple[tuple[int, int] | None, int]:
    """Return the stored size and the EXIF orientation of an image; None and 1 if unknown."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.size, image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # OpenCV may decode it, so an error of Pillow does not matter
        return None, 1
