"""Run a detector on a prepared subset and match its detections with the annotations."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from tqdm import tqdm

from detmake.data import subsets
from detmake.detections import Detections, Detector
from detmake.evaluation.metrics import Evaluation
from detmake.runtime.images import read_image


def evaluate_subset(
    detector: Detector | Callable[[np.ndarray], Detections],
    coco: Mapping[str, Any],
    progress: str | None,
) -> Evaluation:
    """Run a detector on every image of a subset and match its detections.

    Images are read beside the detection where the detector's `stream` can do so.

    Args:
        detector: a detector, or any function from an image to its detections.
        coco: a prepared subset (`detmake.data.checking`).
        progress: label of the progress bar; None hides it.
    """
    stream = getattr(detector, "stream", partial(map, detector))
    ids = [image["id"] for image in coco["images"]]
    found = tqdm(
        stream(map(read_image, subsets.image_paths(coco))),
        progress,
        total=len(ids),
        unit="image",
        mininterval=2,
        disable=progress is None,
    )
    return Evaluation(coco, dict(zip(ids, found, strict=True)))
