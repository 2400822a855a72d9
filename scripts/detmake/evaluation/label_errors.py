"""Annotations that may be wrong, because models disagree with them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from detmake.evaluation.error_types import BACKGROUND
from detmake.evaluation.overlaps import MATCHED, Overlaps, box_iou

#: IoU with each annotation below which none covers a detection. Neighbours in a crowd overlap by
#: less, and most detections that are merely misplaced by more.
COVERED = 0.3
#: Share of the threshold from which an object counts as found, if with little confidence.
FOUND = 0.5
COLUMNS = [
    *("kind", "suspicion", "image_id", "file_name", "annotation_id"),
    *("annotated", "found", "x", "y", "width", "height"),
]


def suspects(models: Sequence[Sequence[Overlaps]], threshold: float) -> pd.DataFrame:
    """Find annotations that may be wrong or missing.

    - `not annotated`: a detection of the first model that no annotation covers;
    - `not found`: an annotation where no model detects anything, even at half the threshold;
    - `another class`: a detection of the first model on an annotation of another class, whose own
      class the model does not detect there.

    Args:
        models: overlaps of one or more models with the same images, whatever the score.
        threshold: detections of a lower confidence are not confident, in [0, 1].

    Confidence differs from class to class, so the suspicion compares it with the true positives of
    the class by the first model: of a detection, it is the share of them that are less confident;
    of an annotation, the share of the class's annotations that are found with more confidence than
    anything here.

    Returns:
        What is not found comes last, since it is mostly right but hard to see (docs/bccd.md); apart
        from that, most suspicious first. `COLUMNS`: `suspicion` in [0, 1]; `annotated` and `found`
        are category ids and `annotation_id` is one of the subset, each missing where there is
        none; the box is in pixels of the image.
    """
    known = _Known(models[0])
    rows = [
        row for images in zip(*models, strict=True) for row in _of_image(images, threshold, known)
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    whole = {name: "Int64" for name in ("annotation_id", "annotated", "found")}
    table = table.astype(whole).sort_values("suspicion", ascending=False, kind="stable")
    return table.sort_values("kind", key=lambda kind: kind == "not found", kind="stable")


def as_coco(table: pd.DataFrame, coco: Mapping[str, Any]) -> dict[str, Any]:
    """Return suspects as a COCO dataset: each box with `kind`, `suspicion` and `annotation_id`.

    Args:
        table: what `suspects` returns.
        coco: the prepared subset.
    """
    images = set(table["image_id"])
    annotations = [
        {
            "id": number,
            "image_id": int(row.image_id),
            "category_id": int(row.annotated if pd.isna(row.found) else row.found),
            "bbox": [round(float(side), 2) for side in (row.x, row.y, row.width, row.height)],
            "area": round(float(row.width * row.height), 2),
            "iscrowd": 0,
            "kind": row.kind,
            "suspicion": round(float(row.suspicion), 4),
            "annotation_id": None if pd.isna(row.annotation_id) else int(row.annotation_id),
        }
        for number, row in enumerate(table.itertuples(), start=1)
    ]
    return {
        "info": coco["info"],
        "categories": coco["categories"],
        "images": [image for image in coco["images"] if image["id"] in images],
        "annotations": annotations,
    }


class _Known:
    """Confidence of a model's true positives, by class."""

    def __init__(self, images: Sequence[Overlaps]) -> None:
        hits = [image.matches >= 0 for image in images]
        self._labels = _joined(
            image.found.labels[hit] for image, hit in zip(images, hits, strict=True)
        )
        self._scores = _joined(
            image.found.scores[hit] for image, hit in zip(images, hits, strict=True)
        )
        self._truths = _joined(image.labels for image in images)

    def of_detection(self, label: int, score: float) -> float:
        """Return the suspicion of a detection that is no true positive."""
        scores = self._scores[self._labels == label]
        return float(np.mean(scores < score)) if len(scores) else 0.0

    def of_annotation(self, label: int, score: float) -> float:
        """Return the suspicion of an annotation where a score is the highest."""
        more = np.count_nonzero(self._scores[self._labels == label] > score)
        return more / np.count_nonzero(self._truths == label)


def _joined(arrays: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([*arrays, np.empty(0)])


def _of_image(models: Sequence[Overlaps], threshold: float, known: _Known) -> list[list]:
    first = models[0]
    rows, taken = [], np.zeros((0, 4))
    confident = first.found.scores >= threshold
    # The boxes of one class that one model finds well are not suspects of another class.
    is_found = np.isin(np.arange(len(first.labels)), first.matches[confident])
    for at in np.flatnonzero(confident & (first.matches < 0)):
        box = first.found.boxes[at]
        best = int(first.iou[at].argmax()) if len(first.labels) else -1
        iou = first.iou[at, best] if best >= 0 else 0.0
        found = int(first.found.labels[at]) + 1
        suspicion = known.of_detection(found - 1, first.found.scores[at])
        if (box_iou(box[np.newaxis], taken) >= MATCHED).any():
            continue  # the same object, once more
        if iou < COVERED:
            rows.append(_row("not annotated", suspicion, first, None, found, box))
        elif iou >= MATCHED and found != first.labels[best] + 1 and not is_found[best]:
            rows.append(_row("another class", suspicion, first, best, found, box))
        else:
            continue
        taken = np.vstack([taken, box])
    for at in range(len(first.labels)):
        here = max(one.found.scores[one.iou[:, at] >= BACKGROUND].max(initial=0) for one in models)
        if here < FOUND * threshold:
            suspicion = known.of_annotation(int(first.labels[at]), here)
            rows.append(_row("not found", suspicion, first, at, None, first.boxes[at]))
    return rows


def _row(
    kind: str, suspicion: float, image: Overlaps, at: int | None, found: int | None, box: np.ndarray
) -> list:
    annotation = (None, None) if at is None else (int(image.ids[at]), int(image.labels[at]) + 1)
    where = [image.image["id"], image.image["file_name"], annotation[0]]
    sides = (float(side) for side in (*box[:2], *(box[2:] - box[:2])))
    return [kind, suspicion, *where, annotation[1], found, *sides]
