"""The confidence threshold of a snapshot, chosen on the validation subset."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from detmake.evaluation.matching import evaluate_subset
from detmake.evaluation.metrics import Evaluation
from detmake.model.detector import SnapshotDetector
from detmake.model.snapshot import Snapshot

log = logging.getLogger("detmake")


def with_best_threshold(snapshot: Snapshot, coco: Mapping[str, Any]) -> tuple[Snapshot, Evaluation]:
    """Return a snapshot with its best confidence threshold on the prepared validation subset.

    The snapshot's own threshold does not matter.

    Returns:
        The snapshot with that threshold and its F-measure, and the evaluation that they come from.
    """
    evaluation = evaluate_subset(SnapshotDetector(snapshot), coco, "snapshot")
    threshold, measured = evaluation.best()
    log.info("Detections on the validation subset, IoU 0.5:\n%s", evaluation.table())
    log.info("Confidence threshold %g, chosen on the validation subset", threshold)
    log.info("F-measure on the validation subset: %.4f", measured)
    return replace(snapshot, confidence_threshold=threshold, f_measure=measured), evaluation
