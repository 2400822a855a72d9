"""Read image files for detectors."""

from pathlib import Path

import cv2
import numpy as np

from detmake.errors import InputError


def read_image(path: Path) -> np.ndarray:
    """Read an image file and apply its EXIF orientation: (H, W, 3) uint8, BGR.

    Raises:
        InputError: the file is missing, not an image, too large, or not of 8 bits a channel.
    """
    try:
        # OpenCV would turn 16 bits into 8, and an image that uses few of them nearly black.
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except (OSError, ValueError, cv2.error):  # none, of a name that none can have, or empty
        image = None
    if image is None:
        raise InputError(f"{path}: expected an image file, found none that can be decoded.")
    if image.dtype != np.uint8:
        raise InputError(f"{path}: expected 8 bits a channel, found {image.dtype}: convert it.")
    return image
