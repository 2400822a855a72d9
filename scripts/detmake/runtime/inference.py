"""Inference with an exported model by OpenVINO, without a training library."""

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from detmake.detections import Detections
from detmake.errors import InputError
from detmake.runtime import openvino_core, tiled
from detmake.tiling import Tiling

#: Bytes of an image that runs alone: OpenVINO copies it, and then makes it four times as large.
LARGE = 150_000_000


class OpenvinoDetector:
    """The `Detector` of a model folder, compiled for a device of this machine.

    It cuts images into tiles if the model folder says so.

    Args:
        folder: a model folder (`detmake.runtime.model_folder`).
        threads: CPU threads; None leaves the choice to OpenVINO.
        performance_hint: `LATENCY`: all threads work on one image; `THROUGHPUT`: the threads
            are divided among several images, which speeds up `stream`.
        device: a device of OpenVINO: `CPU`, `GPU`, `NPU`, or `AUTO`, which chooses one.

    Raises:
        InputError: the folder holds no readable model, or the device does not run it.
    """

    def __init__(
        self,
        folder: Path,
        threads: int | None = None,
        performance_hint: str = "LATENCY",
        device: str = "CPU",
    ) -> None:
        try:
            description = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            self.labels: list[str] = description["labels"]
            self.confidence_threshold = float(description["confidence_threshold"])
            self.quantization: dict[str, Any] | None = description.get("quantization")
            self.tiling = Tiling.described(description.get("tiling"))
            model = openvino_core.core().read_model(folder / "openvino.xml")
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{folder}: expected a model folder with openvino.xml, openvino.bin and "
                f"config.json, found none that loads: {error}"
            ) from error
        self._model = compile_model(model, threads, performance_hint, device)

    @property
    def device(self) -> str:
        """The devices that run the model, such as `CPU`; also those that `AUTO` chose."""
        return ", ".join(self._model.get_property("EXECUTION_DEVICES"))

    def __call__(self, image: np.ndarray) -> Detections:
        """Detect in one image, (H, W, 3) uint8, BGR, any size."""
        return tiled.detect(partial(detect, self._model), image, self.tiling)

    def stream(self, images: Iterable[np.ndarray]) -> Iterator[Detections]:
        """Detect in a stream of images, in as many at a time as suits the compiled model.

        The images may be endless and may reuse one array. The stream takes only a few images ahead
        of the results, and none beside one of more than 50 megapixels. If the iterable raises an
        exception, it passes through, and the results of those few are lost.
        """
        return tiled.stream(self._stream, images, self.tiling)

    def _stream(self, images: Iterable[np.ndarray]) -> Iterator[Detections]:
        """Detect in images as they are."""
        # Results are taken in order, so a request may finish before its turn. With twice as many
        # requests as run at a time, no thread waits for that.
        in_work = self._model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        idle = [self._model.create_infer_request() for _ in range(2 * in_work)]
        started: deque[tuple[ov.InferRequest, tuple[int, ...]]] = deque()

        def oldest() -> tuple[ov.InferRequest, Detections]:
            request, shape = started.popleft()
            request.wait()
            return request, _in_pixels(request.results, shape)

        for image in images:
            if image.nbytes > LARGE:
                while started:
                    request, found = oldest()
                    idle.append(request)
                    yield found
                found = detect(self._model, image)
                del image  # before the next one is read
                yield found
                continue
            request, found = (idle.pop(), None) if idle else oldest()
            # Start before the yield: no thread idles while the caller uses the result.
            request.start_async(image[np.newaxis])
            started.append((request, image.shape))
            if found is not None:
                yield found
        while started:
            yield oldest()[1]


def check_device(device: str) -> None:
    """Raise InputError if this machine lacks a device of OpenVINO: GPU or NPU."""
    found = openvino_core.core().available_devices  # with several, GPU.0 and so on
    if device in ("GPU", "NPU") and device not in {name.partition(".")[0] for name in found}:
        raise InputError(
            f"inference.device or --device: found {device}, but OpenVINO finds only "
            f"{', '.join(found)} on this machine. Choose one of these, or AUTO; or install the "
            "driver of the other."
        )


def compile_model(
    model: ov.Model | Path,
    threads: int | None = None,
    performance_hint: str = "LATENCY",
    device: str = "CPU",
) -> ov.CompiledModel:
    """Compile a detector; arguments and errors as for `OpenvinoDetector`."""
    core = openvino_core.core()
    # On a CPU with bfloat16, OpenVINO uses it unless asked for accuracy.
    options: dict[str, Any] = {
        "PERFORMANCE_HINT": performance_hint,
        "EXECUTION_MODE_HINT": "ACCURACY",
    }
    if threads is not None:
        limit = {"INFERENCE_NUM_THREADS": str(threads)}
        # Other devices have no such property, and AUTO takes those of the devices it chooses from.
        options |= limit if device == "CPU" else {}
        options |= {"DEVICE_PROPERTIES": {"CPU": limit}} if device == "AUTO" else {}
    check_device(device)
    try:
        return core.compile_model(model, device, options)
    except RuntimeError as error:
        raise InputError(
            f"inference.device or --device: found {device}, which cannot run this model. Choose "
            f"CPU or AUTO.\n{error}"
        ) from error


def device_name(device: str) -> str:
    """Return the full name of a device, such as that of the CPU; of `AUTO`, what it has."""
    core = openvino_core.core()
    if device == "AUTO":
        return f"AUTO ({', '.join(core.available_devices)})"
    return core.get_property(device, "FULL_DEVICE_NAME").strip()


def detect(model: ov.CompiledModel, image: np.ndarray) -> Detections:
    """Detect in one image as it is with a compiled model."""
    # A shared image would remain the model's input memory, and the next image that is not shared
    # (of a stream, or a read-only array) would overwrite it.
    found = _in_pixels(model(image[np.newaxis], share_inputs=False), image.shape)
    if image.nbytes > LARGE:  # or gigabytes stay with each model that saw such an image
        model.release_memory()
    return found


def _in_pixels(found: Mapping[str, Any], shape: tuple[int, ...]) -> Detections:
    """Return a model's outputs for an image of that shape, with boxes in pixels."""
    height, width = shape[:2]
    return Detections(
        boxes=found["bboxes"][0] * np.float32([width, height, width, height]),
        scores=found["scores"][0],
        labels=found["labels"][0],
    )
