"""Snapshots of trained detectors: the file `weights.pth`, and MMDetection's predictions with it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from mmcv.transforms import Compose
from mmengine.registry import init_default_scope
from torch import Tensor, nn
from tqdm import tqdm

from detmake.artifacts import staged
from detmake.detections import Detections
from detmake.errors import InputError
from detmake.network import build_detector


@dataclass(frozen=True)
class Snapshot:
    """A trained detector with all that is needed to rebuild and use it.

    Attributes:
        model: complete MMDetection `model` dict.
        labels: class names, in the order of the head's outputs.
        input_size: width and height in pixels that an image is resized to.
        confidence_threshold: the best one on the validation subset, in [0, 1].
        template: `id` and `name` of the template.
        state_dict: weights by name.
    """

    model: Mapping[str, Any]
    labels: Sequence[str]
    input_size: Sequence[int]
    confidence_threshold: float
    template: Mapping[str, str]
    state_dict: Mapping[str, Tensor]

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

    def detector(self) -> nn.Module:
        """The detector with its weights, on the GPU if there is one, in evaluation mode."""
        detector = build_detector(self.model)
        detector.load_state_dict(self.state_dict)
        return detector.to("cuda" if torch.cuda.is_available() else "cpu").eval()


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


@torch.inference_mode()
def predict(
    detector: nn.Module, input_size: Sequence[int], images: Sequence[Path]
) -> Iterator[Detections]:
    """Detections of one image after the other, by MMDetection's own predict path.

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
        packed = pipeline({"img_path": str(path), "img_id": image_id})
        batch = {"inputs": [packed["inputs"]], "data_samples": [packed["data_samples"]]}
        found = detector.test_step(batch)[0].pred_instances.cpu().numpy()
        yield Detections(found.bboxes, found.scores, found.labels)
