"""Run a detector on a prepared subset and match its detections with the annotations."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tqdm import tqdm

from detmake.data import subsets
from detmake.detections import Detections
from detmake.evaluation.metrics import Evaluation
from detmake.runtime.images import read_image


def evaluate_subset(
    detector: Callable[[np.ndarray], Detections], coco: Mapping[str, Any], progress: str | None
) -> Evaluation:
    """Run a detector on every image of a subset and match its detections.

    Args:
        detector: a `Detector`, or any function from an image to its detections.
        coco: a prepared subset (`detmake.data.checking`).
        progress: label of the progress bar; None hides it.
    """
    paths = tqdm(
        subsets.image_paths(coco), progress, unit="image", mininterval=2, disable=progress is None
    )
    ids = [image["id"] for image in coco["images"]]
    found = [detector(read_image(path)) for path in paths]
    return Evaluation(coco, dict(zip(ids, found, strict=True)))
