"""Whether two models find the same objects."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from detmake.detections import Detections
from detmake.evaluation.overlaps import box_iou, match

#: IoU from which two models found the same box.
SAME = 0.9


def agreement(
    images: Sequence[Mapping[str, Any]],
    first: Mapping[int, Detections],
    second: Mapping[int, Detections],
    thresholds: tuple[float, float],
) -> pd.DataFrame:
    """Compare the detections of two models.

    Args:
        images: the images of a prepared subset.
        first, second: detections of the models by image id; a missing image has none.
        thresholds: the confidence threshold of each model; detections below it are left out.

    Returns:
        One row for each image, indexed by its id: `same`, pairs of one class with an IoU of at
        least `SAME`; `first_only` and `second_only`, the other boxes of each model.
    """
    rows = []
    for image in images:
        both = (found.get(image["id"], Detections.none()) for found in (first, second))
        shared = [is_shared for _, is_shared in compare(*both, thresholds)]
        rows.append([image["id"], shared[0].sum(), *((~one).sum() for one in shared)])
    columns = ["image", "same", "first_only", "second_only"]
    return pd.DataFrame(rows, columns=columns).set_index("image")


def compare(
    first: Detections, second: Detections, thresholds: tuple[float, float]
) -> list[tuple[Detections, np.ndarray]]:
    """Compare what two models detect in one image.

    Args:
        first, second: the detections of the models.
        thresholds: as for `agreement`.

    Returns:
        For each model, its detections from its threshold on, and (N,) bool, whether the other model
        has the same one.
    """
    both = [
        found.select(found.scores >= threshold)
        for found, threshold in zip((first, second), thresholds, strict=True)
    ]
    same_class = both[0].labels[:, np.newaxis] == both[1].labels
    partners = match(box_iou(both[0].boxes, both[1].boxes), same_class, SAME)
    is_shared = partners >= 0, np.isin(np.arange(len(both[1].labels)), partners)
    return list(zip(both, is_shared, strict=True))


def share(table: pd.DataFrame) -> float:
    """Return the share of boxes of both models that agree, in [0, 1]; 1 if there are none."""
    same, first_only, second_only = table.sum()
    boxes = 2 * same + first_only + second_only
    return float(2 * same / boxes) if boxes else 1.0
