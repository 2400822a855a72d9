"""Read image files for detectors."""

from pathlib import Path

import cv2
import numpy as np

from detmake.errors import InputError


def read_image(path: Path) -> np.ndarray:
    """Read an image file and apply its EXIF orientation: (H, W, 3) uint8, BGR.

    Raises:
        InputError: the file is missing or not an image.
    """
    data = np.fromfile(path, dtype=np.uint8) if path.is_file() else np.empty(0, dtype=np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise InputError(f"{path}: expected an image file, found none that can be decoded.")
    return image
