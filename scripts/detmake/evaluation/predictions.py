"""Detections of a subset as a COCO result file: `predictions.json`."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from detmake.artifacts import write_text
from detmake.detections import Detections


def write(path: Path, detections: Mapping[int, Detections]) -> None:
    """Write detections as COCO's result file, one detection a line, atomically.

    Args:
        path: the file: a list of `image_id`, `category_id`, `bbox` (xywh in pixels of the image)
            and `score`, which pycocotools' `loadRes` reads.
        detections: by image id, including those with low scores.
    """
    rows = [
        json.dumps(row, allow_nan=False)
        for image, found in detections.items()
        for row in found.coco_results(image)
    ]
    write_text(path, "[\n" + ",\n".join(rows) + "\n]\n")


def read(path: Path) -> dict[int, Detections]:
    """Return the detections of a COCO result file by image id; images without any are missing."""
    rows: dict[int, list] = {}
    for row in json.loads(path.read_text(encoding="utf-8")):
        rows.setdefault(row["image_id"], []).append(row)
    return {image: _detections(found) for image, found in rows.items()}


def _detections(rows: list) -> Detections:
    boxes = np.array([row["bbox"] for row in rows], dtype=float)
    boxes[:, 2:] += boxes[:, :2]
    scores = np.array([row["score"] for row in rows], dtype=float)
    return Detections(boxes, scores, np.array([row["category_id"] for row in rows]) - 1)
