"""Inference with an exported model: OpenVINO and images, no training library."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
from tqdm import tqdm

from detmake.detections import Detections
from detmake.errors import InputError


class Detector:
    """A model folder, compiled for this machine's CPU.

    Args:
        folder: a model folder (`detmake.model_folder`).
        threads: CPU threads; None leaves the choice to OpenVINO.

    Raises:
        InputError: the folder holds no readable model.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        # Where a CPU has bfloat16, OpenVINO computes in it unless accuracy is asked for.
        options = {"PERFORMANCE_HINT": "LATENCY", "EXECUTION_MODE_HINT": "ACCURACY"}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = str(threads)
        try:
            description = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            self._model = ov.Core().compile_model(folder / "openvino.xml", "CPU", options)
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{folder}: expected a model folder with openvino.xml, openvino.bin and "
                f"config.json, found none that loads: {error}"
            ) from error
        self.labels: list[str] = description["labels"]
        self.confidence_threshold: float = description["confidence_threshold"]

    def __call__(self, image: np.ndarray) -> Detections:
        """Detect in one image.

        Args:
            image: (H, W, 3) uint8, BGR, any size.

        Returns:
            Detections in pixels of the image, by descending score, low ones included.
        """
        height, width = image.shape[:2]
        found = self._model(image[np.newaxis])
        return Detections(
            boxes=found["bboxes"][0] * np.float32([width, height, width, height]),
            scores=found["scores"][0],
            labels=found["labels"][0],
        )


def read_image(path: Path) -> np.ndarray:
    """Read an image file, turned upright by its EXIF orientation: (H, W, 3) uint8, BGR.

    Raises:
        InputError: the file is missing or no image.
    """
    data = np.fromfile(path, dtype=np.uint8) if path.is_file() else np.empty(0, dtype=np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise InputError(f"{path}: expected an image file, found none that can be decoded.")
    return image


def predict(detector: Detector, images: Sequence[Path]) -> Iterator[Detections]:
    """Detections of one image file after the other, in pixels of the image, with progress."""
    for path in tqdm(images, desc="IR", unit="image", mininterval=2):
        yield detector(read_image(path))
