"""What a detector does wrong, and what each type of error costs.

The types and their costs are those of TIDE: Bolya, Foley, Hays and Hoffman, TIDE: A General
Toolbox for Identifying Object Detection Errors, ECCV 2020, sections 2.2 and 2.3.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from detmake.evaluation.overlaps import MATCHED, Overlaps
from detmake.evaluation.precision_recall import average_precision

TYPES = ("classification", "localization", "both", "duplicate", "background", "missed")
#: IoU up to which a detection lies on the background.
BACKGROUND = 0.1


def classify(image: Overlaps) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Name the errors in one image.

    Returns:
        - (D,) str: the type of each detection, empty for a true positive;
        - (D,) int: the annotation that the detection would find without its error, for types
          `classification` and `localization`; -1 for the others;
        - (G,) bool: whether the annotation is missed: no detection finds it, nor would without
          such an error.
    """
    if not len(image.labels):
        none = np.full(len(image.matches), -1)
        return np.full(len(none), "background", dtype=object), none, np.zeros(0, dtype=bool)
    same = np.where(image.same_class, image.iou, 0.0)
    other = np.where(image.same_class, 0.0, image.iou)
    best = same.max(axis=1)
    types = np.select(
        [
            image.matches >= 0,
            (best >= BACKGROUND) & (best <= MATCHED),
            other.max(axis=1) >= MATCHED,
            (same * image.is_found).max(axis=1) >= MATCHED,
            image.iou.max(axis=1) <= BACKGROUND,
        ],
        ["", "localization", "classification", "duplicate", "background"],
        "both",
    ).astype(object)
    targets = np.select(
        [types == "localization", types == "classification"],
        [same.argmax(axis=1), other.argmax(axis=1)],
        -1,
    )
    missed = ~image.is_found & ~np.isin(np.arange(len(image.labels)), targets)
    return types, targets, missed


def costs(images: Sequence[Overlaps], classes: int) -> pd.DataFrame:
    """Count the errors of each type, and what they cost.

    The cost is what the mean AP at IoU 0.5 would gain if this type alone were mended: a wrong
    class or place becomes right, unless a detection with a higher score would take the same
    annotation; a detection of another type goes, and a missed annotation does not count.

    Args:
        images: overlaps of all detections, whatever their score.
        classes: number of the classes.

    Returns:
        Indexed by `TYPES`: `count`, and `cost` in [0, 1].
    """
    detections, truths = _tables(images)
    boxes = np.bincount(truths.label, minlength=classes)

    def mean_ap(table: pd.DataFrame, boxes_left: np.ndarray) -> float:
        aps = []
        for label in np.flatnonzero(boxes):
            own = table[table.label == label].sort_values("score", ascending=False, kind="stable")
            if not boxes_left[label] and own.empty:  # such a class does not count, as in TIDE
                continue
            hits = own.hit.to_numpy()
            at = np.flatnonzero(hits)
            ap = average_precision(np.arange(1, len(at) + 1), at + 1, boxes_left[label])
            aps.append(np.nan_to_num(ap))
        return float(np.mean(aps)) if aps else 0.0

    before, rows = mean_ap(detections, boxes), []
    for kind in TYPES:
        table, left = detections, boxes
        if kind == "missed":
            left = boxes - np.bincount(truths.label[truths.missed], minlength=classes)
        else:
            mended = (table.type == kind) & table.mendable
            table = table.assign(
                hit=table.hit | mended, label=table.label.where(~mended, table.target_label)
            )[(table.type != kind) | mended]
        count = truths.missed.sum() if kind == "missed" else (detections.type == kind).sum()
        rows.append({"count": int(count), "cost": max(mean_ap(table, left) - before, 0.0)})
    return pd.DataFrame(rows, index=pd.Index(TYPES, name="type"))


def _tables(images: Sequence[Overlaps]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return all detections and all annotations, one a row."""
    detections, truths = [], []
    for number, image in enumerate(images):
        types, targets, missed = classify(image)
        truths.append(pd.DataFrame({"label": image.labels, "missed": missed}))
        labels = np.append(image.labels, -1)  # of target -1
        table = pd.DataFrame(
            {
                "score": image.found.scores,
                "label": image.found.labels,
                "type": types,
                "hit": types == "",
                "image": number,
                "target": targets,
                "target_label": labels[targets],
                "free": np.append(~image.is_found, False)[targets],
            }
        )
        detections.append(table)
    table = pd.concat(detections, ignore_index=True)
    free = table[table.free].sort_values("score", ascending=False, kind="stable")
    first = free.drop_duplicates(["image", "target"]).index
    return table.assign(mendable=table.index.isin(first)), pd.concat(truths, ignore_index=True)
