"""Annotations and detections image by image: how much they overlap, and which match."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask

from detmake.detections import Detections

#: IoU from which a detection of the right class is a true positive.
MATCHED = 0.5


@dataclass(frozen=True)
class Overlaps:
    """Annotations and detections of one image.

    Crowds are left out, and so are detections that match only those, as pycocotools does.

    Attributes:
        image: the entry of the prepared subset.
        found: D detections by descending score.
        ids: (G,) int, ids of the annotations.
        boxes: (G, 4) float, xyxy in pixels of the image.
        labels: (G,) int, index into the class names.
        iou: (D, G) float.
        matches: (D,) int, index of the annotation that a true positive matches; -1 for the others.
    """

    image: Mapping[str, Any]
    found: Detections
    ids: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    iou: np.ndarray
    matches: np.ndarray

    @property
    def same_class(self) -> np.ndarray:
        """(D, G) bool: whether detection and annotation have one class."""
        return self.found.labels[:, np.newaxis] == self.labels

    @property
    def is_found(self) -> np.ndarray:
        """(G,) bool: whether a true positive matches the annotation."""
        return np.isin(np.arange(len(self.labels)), self.matches)


def overlaps(
    coco: Mapping[str, Any], detections: Mapping[int, Detections], threshold: float = 0.0
) -> list[Overlaps]:
    """Match the detections of a subset with its annotations.

    Args:
        coco: a prepared subset (`detmake.data.checking`).
        detections: by image id; a missing image has none.
        threshold: leave out detections of a lower confidence, in [0, 1].

    Returns:
        One entry for each image, in the order of the subset. Its true positives are those of
        `detmake.evaluation.metrics.Evaluation`.
    """
    annotations: dict[int, list] = {image["id"]: [] for image in coco["images"]}
    for entry in coco["annotations"]:
        annotations[entry["image_id"]].append(entry)
    return [
        _overlaps(
            image,
            annotations[image["id"]],
            detections.get(image["id"], Detections.none()),
            threshold,
        )
        for image in coco["images"]
    ]


def box_iou(first: np.ndarray, second: np.ndarray, crowds: bool = False) -> np.ndarray:
    """Return the IoU of N and M boxes, xyxy: (N, M) float.

    Args:
        first, second: the boxes.
        crowds: whether the second ones are crowds: the intersection is divided by the first box.
    """
    if not len(first) or not len(second):
        return np.zeros((len(first), len(second)))
    sides = [np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]) for boxes in (first, second)]
    return mask.iou(*(np.ascontiguousarray(one, float) for one in sides), [crowds] * len(second))


def match(iou: np.ndarray, allowed: np.ndarray, threshold: float) -> np.ndarray:
    """Match each row in turn with the free column that it overlaps most.

    Args:
        iou: (N, M) float.
        allowed: (N, M) bool: which may match.
        threshold: the lowest IoU of a match.

    Returns:
        (N,) int: the column; -1 for none.
    """
    matches, free = np.full(len(iou), -1), np.where(allowed, iou, 0.0)
    for row in np.flatnonzero((free >= threshold).any(axis=1)):
        column = int(free[row].argmax())
        if free[row, column] >= threshold:
            matches[row] = column
            free[:, column] = 0
    return matches


def _overlaps(
    image: Mapping[str, Any], annotations: list, found: Detections, threshold: float
) -> Overlaps:
    truths = [entry for entry in annotations if not entry["iscrowd"]]
    crowds = [entry for entry in annotations if entry["iscrowd"]]
    boxes, labels = _boxes(truths), _labels(truths)
    order = np.argsort(-found.scores, kind="stable")
    found = found.select(order[found.scores[order] >= threshold])
    iou = box_iou(found.boxes, boxes)
    matches = match(iou, found.labels[:, np.newaxis] == labels, MATCHED)
    in_crowd = box_iou(found.boxes, _boxes(crowds), crowds=True) >= MATCHED
    in_crowd &= found.labels[:, np.newaxis] == _labels(crowds)
    kept = np.flatnonzero((matches >= 0) | ~in_crowd.any(axis=1))
    ids = np.array([entry["id"] for entry in truths], dtype=int)
    return Overlaps(image, found.select(kept), ids, boxes, labels, iou[kept], matches[kept])


def _boxes(entries: list) -> np.ndarray:
    boxes = np.array([entry["bbox"] for entry in entries], dtype=float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _labels(entries: list) -> np.ndarray:
    return np.array([entry["category_id"] - 1 for entry in entries], dtype=int)
