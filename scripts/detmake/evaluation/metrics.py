"""Detection metrics: F-measure at IoU 0.5 and COCO's average precision from one matching."""

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detmake.detections import MAX_DETECTIONS, Detections

#: Candidates for the best confidence threshold, as in OTX: 0.025, 0.05 … 0.975.
CONFIDENCE_THRESHOLDS = np.linspace(0.025, 0.975, 39)


#: COCO's sizes of objects, from 32² and 96² pixels of the image, in the order of its parameters.
SIZES = ("small", "medium", "large")


@dataclass(frozen=True)
class Outcomes:
    """Detections of a subset with what became of them at COCO's ten IoU thresholds.

    Attributes:
        scores: (D,) float.
        labels: (D,) int, index into the class names.
        images: (D,) int, position of the image in the order of ids.
        hits: (10, D) bool, whether the detection is a true positive.
        counted: (10, D) bool, whether it counts: one that matches only crowds does not.
        truths: (N, K) int, ground truths of each image and class.
    """

    scores: np.ndarray
    labels: np.ndarray
    images: np.ndarray
    hits: np.ndarray
    counted: np.ndarray
    truths: np.ndarray


@dataclass(frozen=True)
class Counts:
    """True positives, detections and ground truths at one confidence threshold.

    None of them includes crowd annotations, nor detections that match only those.
    """

    true_positives: int
    detections: int
    ground_truths: int

    @property
    def precision(self) -> float:
        """Share of detections that are true positives; 0 without detections."""
        return self.true_positives / self.detections if self.detections else 0.0

    @property
    def recall(self) -> float:
        """Share of ground truths found; 0 without ground truths."""
        return self.true_positives / self.ground_truths if self.ground_truths else 0.0

    @property
    def f_measure(self) -> float:
        """Harmonic mean of precision and recall; 0 without detections and ground truths."""
        total = self.detections + self.ground_truths
        return 2 * self.true_positives / total if total else 0.0

    def as_dict(self) -> dict[str, float]:
        """Return the three metrics under their names in `performance.json`."""
        return {"f-measure": self.f_measure, "precision": self.precision, "recall": self.recall}


class Evaluation:
    """Detections of a subset matched with its annotations, and their metrics.

    In order of score, each detection is matched with the free ground truth of its class that it
    overlaps most (pycocotools). A detection never takes a match from one with a higher score, so
    one matching serves every confidence threshold. Other IoU thresholds than 0.5 are matched when
    they are first asked for.

    Args:
        coco: a prepared subset (`detmake.data.checking`), category ids 1..K in the order of labels.
        detections: detections by image id; a missing image has none.

    Attributes:
        classes: names of the classes.
        detections: as given.
    """

    def __init__(self, coco: Mapping, detections: Mapping[int, Detections]) -> None:
        self.classes = [category["name"] for category in coco["categories"]]
        self.detections = detections
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            self._truth = COCO()
            # pycocotools adds keys to the annotations.
            annotations = [dict(entry) for entry in coco["annotations"]]
            self._truth.dataset = {**coco, "annotations": annotations}
            self._truth.createIndex()
            results = [row for key, one in detections.items() for row in one.coco_results(key)]
            self._found = self._truth.loadRes(results) if results else COCO()
        # COCO's limit, except for images that were cut into tiles.
        self._most = max([MAX_DETECTIONS, *(len(one.scores) for one in detections.values())])
        self._at_half = self._evaluate(slice(1))
        half = self._outcomes(self._at_half)
        counted = half.counted[0]
        self._scores, self._labels = half.scores[counted], half.labels[counted]
        self._images, self._hits = half.images[counted], half.hits[0, counted]
        self._image_truths, self._ground_truths = half.truths.sum(axis=1), half.truths.sum(axis=0)

    @cached_property
    def _at_all(self) -> COCOeval:
        """The matching at all ten IoU thresholds, which takes ten times as long."""
        return self._evaluate(slice(None))

    def _evaluate(self, thresholds: slice, sizes: slice = slice(1)) -> COCOeval:
        """Match and accumulate at some of COCO's IoU thresholds, for objects of some sizes."""
        coco_eval = COCOeval(self._truth, self._found, iouType="bbox")
        parameters = coco_eval.params
        parameters.iouThrs = parameters.iouThrs[thresholds]
        parameters.areaRng = parameters.areaRng[sizes]
        parameters.areaRngLbl = parameters.areaRngLbl[sizes]
        parameters.maxDets = [self._most]
        with contextlib.redirect_stdout(io.StringIO()):
            coco_eval.evaluate()
            coco_eval.accumulate()
        return coco_eval

    def _outcomes(self, coco_eval: COCOeval) -> Outcomes:
        """Read what became of each detection from pycocotools' matches."""
        positions = {image: at for at, image in enumerate(coco_eval.params.imgIds)}
        truths = np.zeros((len(positions), len(self.classes)), dtype=int)
        nothing = np.empty((len(coco_eval.params.iouThrs), 0), bool)
        rows = [(np.empty(0), np.empty(0, int), np.empty(0, int), nothing, nothing)]
        for result in filter(None, coco_eval.evalImgs):
            image, label = positions[result["image_id"]], result["category_id"] - 1
            truths[image, label] = np.count_nonzero(np.asarray(result["gtIgnore"]) == 0)
            counted = ~np.asarray(result["dtIgnore"], dtype=bool)
            scores = np.asarray(result["dtScores"], dtype=float)
            one = np.ones(len(scores), dtype=int)
            hits = (np.asarray(result["dtMatches"]) > 0) & counted
            rows.append((scores, label * one, image * one, hits, counted))
        columns = [np.concatenate(column, axis=-1) for column in zip(*rows, strict=True)]
        return Outcomes(*columns, truths)

    def counts(self, confidence_threshold: float, label: int | None = None) -> Counts:
        """Return counts at IoU 0.5 of the detections with at least a confidence.

        Args:
            confidence_threshold: in [0, 1].
            label: index of a class; None for all classes together.
        """
        selected = self._scores >= confidence_threshold
        if label is not None:
            selected &= self._labels == label
        truths = self._ground_truths if label is None else self._ground_truths[label]
        return Counts(
            int(np.count_nonzero(self._hits & selected)),
            int(np.count_nonzero(selected)),
            int(truths.sum()),
        )

    def image_counts(self) -> np.ndarray:
        """Return true positives, detections and ground truths of each image at each candidate.

        Returns:
            (3, N, T) integers: N images in the order of their ids, T candidates
            (`CONFIDENCE_THRESHOLDS`). Their sums over N are those of `counts`.
        """
        # A detection with k candidates up to its score counts at the first k.
        reached = np.searchsorted(CONFIDENCE_THRESHOLDS, self._scores, side="right")
        shape = len(self._image_truths), len(CONFIDENCE_THRESHOLDS) + 1
        counts = np.zeros((2, *shape), dtype=int)
        np.add.at(counts[0], (self._images[self._hits], reached[self._hits]), 1)
        np.add.at(counts[1], (self._images, reached), 1)
        at_candidates = counts[:, :, :0:-1].cumsum(axis=2)[:, :, ::-1]
        truths = np.broadcast_to(self._image_truths[:, np.newaxis], at_candidates.shape[1:])
        return np.stack([*at_candidates, truths])

    def best_confidence_threshold(self) -> float:
        """Return the candidate with the highest F-measure over all classes; of ties, the lowest."""
        measures = [self.counts(candidate).f_measure for candidate in CONFIDENCE_THRESHOLDS]
        return round(float(CONFIDENCE_THRESHOLDS[int(np.argmax(measures))]), 6)

    def best(self) -> tuple[float, float]:
        """Return the best confidence threshold, and the F-measure at it."""
        threshold = self.best_confidence_threshold()
        return threshold, self.counts(threshold).f_measure

    def average_precision(
        self, iou_threshold: float | None = None, label: int | None = None
    ) -> float:
        """Return COCO's average precision (101 recall points), averaged over classes with truths.

        Args:
            iou_threshold: 0.5, 0.55 … 0.95, or None for the mean over all ten.
            label: index of a class; None for the mean over the classes.

        Returns:
            In [0, 1]; nan if no such class has ground truths.
        """
        coco_eval = self._at_half if iou_threshold == 0.5 else self._at_all
        precision = coco_eval.eval["precision"][:, :, :, 0, 0]  # IoU, recall, class
        if iou_threshold is not None:
            precision = precision[np.isclose(coco_eval.params.iouThrs, iou_threshold)]
        if label is not None:
            precision = precision[:, :, label : label + 1]
        known = precision[precision > -1]
        return float(known.mean()) if known.size else float("nan")

    def average_precision_by_size(self) -> pd.DataFrame:
        """Return COCO's average precision of each class (rows) and size (`SIZES`); nan if none."""
        precision = self._evaluate(slice(None), slice(1, None)).eval["precision"][..., 0]
        means = np.where(precision < 0, np.nan, precision).mean(axis=(0, 1))
        return pd.DataFrame(means, index=pd.Index(self.classes, name="class"), columns=SIZES)

    def precision_at_recalls(self, label: int | None = None) -> np.ndarray:
        """Return what AP at IoU 0.5 averages: (101,) precision at recall 0, 0.01 … 1.

        Args:
            label: index of a class; None for the mean over the classes with ground truths.

        Returns:
            In [0, 1]; nan if there are no ground truths.
        """
        precision = self._at_half.eval["precision"][0, :, :, 0, 0]
        if label is not None:
            precision = precision[:, label : label + 1]
        known = precision[:, (precision > -1).all(axis=0)]
        return known.mean(axis=1) if known.size else np.full(len(precision), np.nan)

    def outcomes(self) -> Outcomes:
        """Return what became of each detection, in the order of classes and images."""
        return self._outcomes(self._at_all)

    def per_class(self, confidence_threshold: float = 0.0) -> pd.DataFrame:
        """Return a row per class: counts and metrics at a confidence threshold, AP at IoU 0.5."""
        rows = []
        for label, name in enumerate(self.classes):
            counts = self.counts(confidence_threshold, label)
            rows.append(
                {
                    "class": name,
                    "ground_truths": counts.ground_truths,
                    "detections": counts.detections,
                    **counts.as_dict(),
                    "ap50": self.average_precision(0.5, label),
                }
            )
        return pd.DataFrame(rows).set_index("class")

    def table(self) -> str:
        """Return the tutorial's table: ground truths, all detections, recall and AP at IoU 0.5."""
        table = self.per_class()[["ground_truths", "detections", "recall", "ap50"]]
        table = table.astype(object)
        table.columns = ["gts", "dets", "recall", "ap"]
        table.loc["mAP"] = ["", "", "", self.average_precision(0.5)]
        return table.to_markdown(tablefmt="outline", floatfmt=".3f")
