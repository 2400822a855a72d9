"""Snapshots of trained detectors: the file `weights.pth`, and MMDetection's predictions with it."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.registry import init_default_scope
from torch import Tensor, nn
from tqdm import tqdm

from detmake.artifacts import staged
from detmake.data import subsets
from detmake.detections import Detections
from detmake.errors import InputError
from detmake.evaluation.metrics import Evaluation
from detmake.model.network import Core, CoreDetector, build_detector

log = logging.getLogger("detmake")


@dataclass(frozen=True)
class Snapshot:
    """A trained detector with all that is needed to rebuild and use it.

    Attributes:
        model: complete MMDetection `model` dict.
        labels: class names, in the order of the head's outputs.
        input_size: width and height in pixels that an image is resized to.
        confidence_threshold: the best one on the validation subset, in [0, 1].
        template: `id` and `name` of the template.
        state_dict: weights of the core by name.
        f_measure: F-measure on the validation subset with that threshold, in [0, 1]; nan before
            it is measured (`validated`).
        quantizers: which ones the core has (`detmake.model.quantized_core`); None: it has none.
    """

    model: Mapping[str, Any]
    labels: Sequence[str]
    input_size: Sequence[int]
    confidence_threshold: float
    template: Mapping[str, str]
    state_dict: Mapping[str, Tensor]
    f_measure: float = math.nan
    quantizers: str | None = None

    def save(self, path: Path) -> None:
        """Write the snapshot; it holds tensors and plain values only, for `weights_only=True`."""
        with staged(path.parent) as scratch:
            torch.save(asdict(self), scratch / path.name)

    @classmethod
    def load(cls, path: Path) -> "Snapshot":
        """Read a snapshot onto the CPU.

        Raises:
            InputError: the file is no snapshot of this project.
        """
        try:
            return cls(**torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:
            raise InputError(
                f"{path}: expected a snapshot written by detmake, found a file that does not read "
                f"as one ({type(error).__name__}). Remove it, so that the build trains it again."
            ) from error

    def core(self) -> nn.Module:
        """The network core with its weights and quantizers, on the CPU, in evaluation mode."""
        core = Core(build_detector(self.model))
        if self.quantizers:
            from detmake.model import quantized_core  # it needs NNCF, which others do not

            core = quantized_core.restore(core, self.quantizers)
        core.load_state_dict(self.state_dict)
        return core.eval()

    def detector(self) -> nn.Module:
        """The detector with its weights, on the GPU if there is one, in evaluation mode."""
        detector = build_detector(self.model)
        if self.quantizers:
            detector = CoreDetector(detector, self.core())
        else:
            detector.load_state_dict(self.state_dict)
        return detector.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def validated(snapshot: Snapshot, coco: Mapping[str, Any]) -> tuple[Snapshot, Evaluation]:
    """The snapshot with its best confidence threshold on the validation subset.

    Args:
        snapshot: the snapshot, whose own threshold does not matter.
        coco: the prepared validation subset (`detmake.data.checking`).

    Returns:
        The snapshot, and its detections on the subset, matched.
    """
    found = predict(snapshot.detector(), snapshot.input_size, subsets.image_paths(coco))
    ids = [image["id"] for image in coco["images"]]
    evaluation = Evaluation(coco, dict(zip(ids, found, strict=True)))
    threshold = evaluation.best_confidence_threshold()
    log.info("Detections on the validation subset, IoU 0.5:\n%s", evaluation.table())
    log.info("Confidence threshold %g, chosen on the validation subset", threshold)
    measured = evaluation.counts(threshold).f_measure
    log.info("F-measure on the validation subset: %.4f", measured)
    return replace(snapshot, confidence_threshold=threshold, f_measure=measured), evaluation


def test_pipeline(input_size: Sequence[int]) -> list[dict[str, Any]]:
    """MMDetection transforms from an image file to a detector's input.

    Args:
        input_size: width and height in pixels; the aspect ratio is not kept.
    """
    return [
        {"type": "LoadImageFromFile"},
        {"type": "Resize", "scale": tuple(input_size), "keep_ratio": False},
        {
            "type": "PackDetInputs",
            "meta_keys": ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
        },
    ]


class Predictor:
    """A snapshot's detector for images in memory, by MMDetection's own predict path.

    Args:
        snapshot: the snapshot.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        init_default_scope("mmdet")
        self._detector = snapshot.detector()
        transforms = test_pipeline(snapshot.input_size)[1:]
        self._pipeline = Compose([{"type": "mmdet.LoadImageFromNDArray"}, *transforms])

    def __call__(self, image: np.ndarray) -> Detections:
        """Detect in one image.

        Args:
            image: (H, W, 3) uint8, BGR, any size.

        Returns:
            Detections in pixels of the image, by descending score.
        """
        return _detect(self._detector, self._pipeline({"img": image, "img_id": 0}))


def predict(
    detector: nn.Module, input_size: Sequence[int], images: Sequence[Path]
) -> Iterator[Detections]:
    """Detections of one image file after the other, by MMDetection's own predict path.

    Args:
        detector: an MMDetection detector in evaluation mode.
        input_size: width and height in pixels that the detector was trained with.
        images: image files.

    Yields:
        Detections in pixels of the image, by descending score.
    """
    init_default_scope("mmdet")
    pipeline = Compose(test_pipeline(input_size))
    for image_id, path in enumerate(tqdm(images, desc="snapshot", unit="image", mininterval=2)):
        yield _detect(detector, pipeline({"img_path": str(path), "img_id": image_id}))


@torch.inference_mode()
def _detect(detector: nn.Module, packed: Mapping[str, Any]) -> Detections:
    batch = {"inputs": [packed["inputs"]], "data_samples": [packed["data_samples"]]}
    sample = detector.test_step(batch)[0]
    found, (height, width) = sample.pred_instances.cpu().numpy(), sample.ori_shape
    boxes = found.bboxes.clip(0, [width, height, width, height])  # YOLOX does not clip
    return Detections(boxes, found.scores, found.labels)
