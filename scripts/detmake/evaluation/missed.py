"""Whether mostly small objects are missed."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from detmake.evaluation.overlaps import Overlaps


def smallest_quarter(images: Sequence[Overlaps], classes: Sequence[str]) -> pd.DataFrame:
    """Count what is missed among the smallest quarter of each class, and among the rest.

    Args:
        images: overlaps at the confidence threshold.
        classes: names of the classes.

    Returns:
        Indexed by class: `side`, the square root of an area in pixels of the image, below which
        the smallest quarter lies; `smallest`, boxes below it, and `smallest_missed` of them;
        `larger`, the others, and `larger_missed`. A class without boxes has a nan for `side`.
    """
    corners = np.concatenate([image.boxes for image in images] or [np.empty((0, 4))])
    boxes = pd.DataFrame(
        {
            "label": np.concatenate([image.labels for image in images] or [np.empty(0, dtype=int)]),
            "missed": ~np.concatenate([image.is_found for image in images] or [np.empty(0, bool)]),
            "side": np.sqrt(np.prod(corners[:, 2:] - corners[:, :2], axis=1)),
        }
    )
    rows = []
    for label in range(len(classes)):
        own = boxes[boxes.label == label]
        side = own.side.quantile(0.25)
        is_small = own.side < side
        rows.append(
            {
                "side": side,
                "smallest": is_small.sum(),
                "smallest_missed": (is_small & own.missed).sum(),
                "larger": (~is_small).sum(),
                "larger_missed": (~is_small & own.missed).sum(),
            }
        )
    return pd.DataFrame(rows, index=pd.Index(classes, name="class"))
