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
        both = [found.get(image["id"], Detections.none()) for found in (first, second)]
        both = [
            found.select(found.scores >= threshold)
            for found, threshold in zip(both, thresholds, strict=True)
        ]
        iou = box_iou(both[0].boxes, both[1].boxes)
        same_class = both[0].labels[:, np.newaxis] == both[1].labels
        same = int(np.count_nonzero(match(iou, same_class, SAME) >= 0))
        rows.append([image["id"], same, *(len(one.scores) - same for one in both)])
    columns = ["image", "same", "first_only", "second_only"]
    return pd.DataFrame(rows, columns=columns).set_index("image")


def share(table: pd.DataFrame) -> float:
    """Return the share of boxes of both models that agree, in [0, 1]; 1 if there are none."""
    same, first_only, second_only = table.sum()
    boxes = 2 * same + first_only + second_only
    return float(2 * same / boxes) if boxes else 1.0
