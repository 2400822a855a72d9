"""Inference with an exported model: OpenVINO and images, no training library."""

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from detmake.detections import Detections
from detmake.errors import InputError


class OpenvinoDetector:
    """A model folder, compiled for this machine's CPU: a `Detector`.

    Args:
        folder: a model folder (`detmake.runtime.model_folder`).
        threads: CPU threads; None leaves the choice to OpenVINO.
        performance_hint: `LATENCY`, all threads work on one image; or `THROUGHPUT`, the threads
            are divided among several images, which `stream` makes use of.

    Raises:
        InputError: the folder holds no readable model.
    """

    def __init__(
        self, folder: Path, threads: int | None = None, performance_hint: str = "LATENCY"
    ) -> None:
        try:
            description = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            self._model = compile_model(folder / "openvino.xml", threads, performance_hint)
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{folder}: expected a model folder with openvino.xml, openvino.bin and "
                f"config.json, found none that loads: {error}"
            ) from error
        self.labels: list[str] = description["labels"]
        self.confidence_threshold: float = description["confidence_threshold"]
        self.quantization: dict[str, Any] | None = description.get("quantization")

    def __call__(self, image: np.ndarray) -> Detections:
        """Detect in one image.

        Args:
            image: (H, W, 3) uint8, BGR, any size.

        Returns:
            Detections in pixels of the image, by descending score, low ones included.
        """
        return detect(self._model, image)

    def stream(self, images: Iterable[np.ndarray]) -> Iterator[Detections]:
        """Detect in one image after the other, in as many at a time as suits the compiled model.

        Args:
            images: as for a call; may be endless, and may fill the same array anew for each image.
                Only a few are drawn ahead of the results. An exception that it raises passes
                through, in place of the results of those few.

        Yields:
            What a call returns for each image, in the order of the images.
        """
        # Results are taken in order, so a request may be done before its turn: twice as many as are
        # in work at a time let no thread wait for that.
        in_work = self._model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        idle = [self._model.create_infer_request() for _ in range(2 * in_work)]
        started: deque[tuple[ov.InferRequest, tuple[int, ...]]] = deque()

        def oldest() -> tuple[ov.InferRequest, Detections]:
            request, shape = started.popleft()
            request.wait()
            return request, _in_pixels(request.results, shape)

        for image in images:
            request, found = (idle.pop(), None) if idle else oldest()
            # Before the yield, so that no thread idles while the caller uses the result.
            request.start_async(image[np.newaxis])
            started.append((request, image.shape))
            if found is not None:
                yield found
        while started:
            yield oldest()[1]


def compile_model(
    model: ov.Model | Path, threads: int | None = None, performance_hint: str = "LATENCY"
) -> ov.CompiledModel:
    """Compile a detector for this machine's CPU; arguments as for `OpenvinoDetector`."""
    # Where a CPU has bfloat16, OpenVINO computes in it unless accuracy is asked for.
    options = {"PERFORMANCE_HINT": performance_hint, "EXECUTION_MODE_HINT": "ACCURACY"}
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = str(threads)
    return ov.Core().compile_model(model, "CPU", options)


def detect(model: ov.CompiledModel, image: np.ndarray) -> Detections:
    """Detect in one image with a compiled model, as an `OpenvinoDetector` does."""
    # A shared image stays the model's input memory: the next one that is not shared (of a stream,
    # or a read-only array) would be written into it.
    return _in_pixels(model(image[np.newaxis], share_inputs=False), image.shape)


def _in_pixels(found: Mapping[str, Any], shape: tuple[int, ...]) -> Detections:
    """A model's outputs for an image of that shape, its boxes in pixels."""
    height, width = shape[:2]
    return Detections(
        boxes=found["bboxes"][0] * np.float32([width, height, width, height]),
        scores=found["scores"][0],
        labels=found["labels"][0],
    )
