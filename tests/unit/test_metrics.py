"""Metrics equal those found by hand, by an independent matcher and by pycocotools."""

import copy
import itertools

import numpy as np
import pandas as pd
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detmake.detections import Detections
from detmake.evaluation import metrics
from detmake.evaluation.metrics import CONFIDENCE_THRESHOLDS, Counts, Evaluation

RED, WHITE = 0, 1


def subset(truths, classes=("red", "white")):
    """A prepared subset; truths: by image id, a list of (label, xyxy) or (label, xyxy, iscrowd)."""
    annotations = [
        {
            "id": 0,
            "image_id": image_id,
            "category_id": label + 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
            "iscrowd": crowd[0] if crowd else 0,
        }
        for image_id, boxes in truths.items()
        for label, (x1, y1, x2, y2), *crowd in boxes
    ]
    for number, annotation in enumerate(annotations, start=1):
        annotation["id"] = number
    return {
        "info": {},
        "categories": [{"id": k, "name": name} for k, name in enumerate(classes, start=1)],
        "images": [{"id": image_id, "width": 200, "height": 100} for image_id in truths],
        "annotations": annotations,
    }


def detections(*found):
    """Detections from (label, xyxy, score)."""
    return Detections(
        boxes=np.float32([box for _, box, _ in found]).reshape(-1, 4),
        scores=np.float32([score for _, _, score in found]),
        labels=np.int64([label for label, _, _ in found]),
    )


# Counts


@pytest.fixture
def two_classes():
    """Four ground truths in two of three images, five detections, of which two are right."""
    truths = {
        7: [(RED, (30, 20, 40, 60)), (RED, (60, 20, 70, 60)), (WHITE, (100, 50, 140, 60))],
        3: [],
        5: [(WHITE, (0, 0, 8, 8))],
    }
    found = {
        7: detections(
            (RED, (30, 20, 40, 60), 0.9),
            (RED, (30, 22, 40, 62), 0.8),  # the same object again
            (WHITE, (100, 50, 135, 60), 0.7),  # IoU 0.875
            (RED, (100, 50, 140, 60), 0.6),  # another class
        ),
        3: detections((RED, (0, 0, 10, 10), 0.5)),
    }
    return Evaluation(subset(truths), found)


def test_all_classes_are_counted_together(two_classes):
    assert two_classes.counts(0.0) == Counts(2, 5, 4)
    assert two_classes.counts(0.55) == Counts(2, 4, 4)
    assert two_classes.counts(0.65) == Counts(2, 3, 4)
    assert two_classes.counts(0.75) == Counts(1, 2, 4)
    assert two_classes.counts(0.95) == Counts(0, 0, 4)


def test_one_class_is_counted_alone(two_classes):
    assert two_classes.counts(0.0, RED) == Counts(1, 4, 2)
    assert two_classes.counts(0.0, WHITE) == Counts(1, 1, 2)
    assert two_classes.counts(0.85, WHITE) == Counts(0, 0, 2)


def test_a_score_equal_to_the_threshold_counts():
    evaluation = Evaluation(
        subset({1: [(RED, (0, 0, 10, 10))]}), {1: detections((RED, (0, 0, 10, 10), 0.5))}
    )
    assert evaluation.counts(0.5) == Counts(1, 1, 1)
    assert evaluation.counts(0.501) == Counts(0, 0, 1)


def test_counts_give_precision_recall_and_f_measure():
    counts = Counts(true_positives=3, detections=4, ground_truths=6)
    assert counts.as_dict() == pytest.approx(
        {"precision": 3 / 4, "recall": 3 / 6, "f-measure": 2 * 0.75 * 0.5 / 1.25}
    )
    assert Counts(0, 0, 0).as_dict() == {"precision": 0, "recall": 0, "f-measure": 0}
    assert Counts(0, 0, 5).as_dict() == {"precision": 0, "recall": 0, "f-measure": 0}
    assert Counts(0, 5, 0).as_dict() == {"precision": 0, "recall": 0, "f-measure": 0}


def test_an_iou_of_one_half_is_a_match():
    truths = subset({1: [(RED, (50, 10, 70, 30))]})
    for x2, hits in ((60, 1), (59.9, 0)):
        evaluation = Evaluation(truths, {1: detections((RED, (50, 10, x2, 30), 0.9))})
        assert evaluation.counts(0) == Counts(hits, 1, 1)


def test_a_detection_matches_the_next_best_ground_truth_if_the_best_is_taken():
    # The two ground truths have an IoU of 80 / 120. The first is detected three times.
    truths = subset({1: [(RED, (0, 0, 10, 10)), (RED, (0, 2, 10, 12))]})
    box = (0, 0, 10, 10)
    evaluation = Evaluation(
        truths, {1: detections((RED, box, 0.7), (RED, box, 0.9), (RED, box, 0.8))}
    )
    assert evaluation.counts(0.85) == Counts(1, 1, 2)
    assert evaluation.counts(0.75) == Counts(2, 2, 2)
    assert evaluation.counts(0.65) == Counts(2, 3, 2)


def test_the_detection_with_the_highest_score_is_matched_first():
    truths = subset({1: [(RED, (0, 0, 10, 10)), (RED, (4, 0, 14, 10))]})
    evaluation = Evaluation(
        truths,
        {
            1: detections(
                (RED, (3, 0, 13, 10), 0.9),  # IoU 70/130 with the first, 90/110 with the second
                (RED, (7, 0, 17, 10), 0.8),  # IoU 70/130 with the second only
            )
        },
    )
    assert evaluation.counts(0) == Counts(1, 2, 2)


def test_crowds_and_detections_in_them_are_not_counted():
    truths = subset({1: [(RED, (0, 0, 10, 10)), (RED, (100, 0, 200, 100), 1)]})
    evaluation = Evaluation(
        truths,
        {
            1: detections(
                (RED, (0, 0, 10, 10), 0.9),
                (RED, (110, 10, 120, 20), 0.8),
                (RED, (150, 10, 160, 20), 0.7),
                (RED, (96, 50, 104, 60), 0.6),  # half in the crowd
                (RED, (90, 70, 104, 80), 0.5),  # less than half: a false positive
                (WHITE, (110, 10, 120, 20), 0.4),  # a false positive of another class
            )
        },
    )
    assert evaluation.counts(0) == Counts(1, 3, 1)
    assert evaluation.counts(0, RED) == Counts(1, 2, 1)
    assert evaluation.per_class()["ground_truths"].to_dict() == {"red": 1, "white": 0}


def test_all_objects_of_a_crowded_image_are_counted():
    boxes = [
        (10 * column, 10 * row, 10 * column + 8, 10 * row + 8)
        for row in range(10)
        for column in range(10)
    ]
    evaluation = Evaluation(
        subset({1: [(RED, box) for box in boxes]}),
        {1: detections(*((RED, box, 0.9 - i / 200) for i, box in enumerate(boxes)))},
    )
    assert evaluation.counts(0) == Counts(100, 100, 100)
    assert evaluation.average_precision() == pytest.approx(1)


def test_all_detections_of_an_image_count_even_more_than_a_hundred_of_a_class():
    """As of an image that was cut into tiles."""
    boxes = [(x, y, x + 8, y + 8) for x in range(0, 150, 10) for y in range(0, 80, 10)]
    found = detections(*((RED, box, 0.5) for box in boxes))
    evaluation = Evaluation(subset({1: [(RED, box) for box in boxes]}), {1: found})
    assert evaluation.counts(0.5) == Counts(120, 120, 120)
    assert evaluation.average_precision(0.5) == pytest.approx(1)


def test_figures_without_detections_are_zero():
    truths = subset({1: [(RED, (0, 0, 10, 10))], 2: [(WHITE, (0, 0, 10, 10))]})
    for found in ({}, {1: detections(), 2: detections()}):
        evaluation = Evaluation(truths, found)
        assert evaluation.counts(0) == Counts(0, 0, 2)
        assert evaluation.average_precision() == 0
        assert evaluation.average_precision(0.5, WHITE) == 0
        assert evaluation.best_confidence_threshold() == 0.025
        assert evaluation.per_class()["detections"].tolist() == [0, 0]
        assert "mAP" in evaluation.table()


def test_average_precision_without_ground_truths_is_undefined():
    evaluation = Evaluation(subset({1: []}), {1: detections((RED, (0, 0, 10, 10), 0.9))})
    assert evaluation.counts(0) == Counts(0, 1, 0)
    assert np.isnan(evaluation.average_precision())


def test_a_class_without_ground_truths_has_counts_but_no_average_precision():
    truths = subset({1: [(RED, (0, 0, 10, 10))]})
    evaluation = Evaluation(
        truths,
        {1: detections((RED, (0, 0, 10, 10), 0.9), (WHITE, (50, 50, 60, 60), 0.8))},
    )
    assert evaluation.counts(0) == Counts(1, 2, 1)
    assert evaluation.average_precision(0.5) == pytest.approx(1)
    assert evaluation.average_precision(0.5, RED) == pytest.approx(1)
    assert np.isnan(evaluation.average_precision(0.5, WHITE))
    assert np.isnan(evaluation.per_class().loc["white", "ap50"])


# Average precision and confidence threshold


def test_average_precision_equals_that_found_by_hand():
    # Right at 0.9 and 0.7, wrong at 0.8: precision 1 up to recall 1/2, then 2/3.
    boxes = [(0, 0, 10, 10), (100, 50, 110, 90)]
    evaluation = Evaluation(
        subset({1: [(RED, boxes[0])], 2: [(RED, boxes[1])]}),
        {
            1: detections((RED, boxes[0], 0.9), (RED, (50, 50, 60, 60), 0.8)),
            2: detections((RED, boxes[1], 0.7)),
        },
    )
    expected = (51 + 50 * 2 / 3) / 101  # recall 0, 0.01 … 1
    assert evaluation.average_precision(0.5) == pytest.approx(expected)
    assert evaluation.average_precision() == pytest.approx(expected)


def test_average_precision_depends_on_the_iou():
    # The IoU is 0.72: right at the thresholds 0.5 … 0.7, five of ten.
    evaluation = Evaluation(
        subset({1: [(RED, (0, 0, 100, 50))]}), {1: detections((RED, (0, 0, 72, 50), 0.9))}
    )
    assert evaluation.average_precision(0.7) == pytest.approx(1)
    assert evaluation.average_precision(0.75) == 0
    assert evaluation.average_precision() == pytest.approx(0.5)


def test_the_best_confidence_threshold_is_the_lowest_of_equal_ones(monkeypatch):
    evaluation = Evaluation(
        subset({1: [(RED, (0, 0, 10, 10))]}),
        {1: detections((RED, (0, 0, 10, 10), 0.9), (RED, (50, 50, 60, 60), 0.31))},
    )
    assert evaluation.best_confidence_threshold() == 0.325
    for candidates, best in [([0.1, 0.4, 0.6, 0.95], 0.4), ([0.1, 0.2], 0.1)]:
        monkeypatch.setattr(metrics, "CONFIDENCE_THRESHOLDS", candidates)
        assert evaluation.best_confidence_threshold() == best


def test_the_candidate_thresholds_are_those_of_otx():
    assert CONFIDENCE_THRESHOLDS.tolist() == pytest.approx(np.arange(0.025, 1, 0.025).tolist())


# Random data


CLASSES = ("red", "white", "platelet", "absent")


def random_data(seed):
    """Jittered, doubled, missed, mislabelled and invented detections; crowds; equal scores."""
    rng = np.random.default_rng(seed)
    truths, found = {}, {}
    for image_id in rng.permutation(np.arange(10, 35)).tolist():
        boxes, here = [], []
        for _ in range(rng.integers(0, 9)):
            x1, y1 = rng.uniform(0, (150, 60)).round(1)
            w, h = rng.uniform(5, 45, 2).round(1)
            label = int(rng.integers(0, 3))
            boxes.append((label, (x1, y1, x1 + w, y1 + h), int(rng.random() < 0.15)))
            for _ in range(rng.choice([0, 1, 1, 1, 2])):
                jitter = rng.normal(0, 0.12, 4) * (w, h, w, h)
                box = np.array((x1, y1, x1 + w, y1 + h)) + jitter
                wrong = rng.random() < 0.1
                here.append((int(rng.integers(0, 4)) if wrong else label, box, rng.random()))
        for _ in range(rng.integers(0, 4)):
            x1, y1, w, h = rng.uniform(2, 60, 4)
            here.append((int(rng.integers(0, 4)), (x1, y1, x1 + w, y1 + h), rng.random() * 0.6))
        truths[image_id] = boxes
        if here or rng.random() < 0.5:
            here = [(label, box, np.float32(round(score, 1))) for label, box, score in here]
            found[image_id] = detections(*here)
    return subset(truths, CLASSES), found


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def greedy_counts(coco, found, threshold, label):
    """Match the detections above a threshold: (true positives, detections, ground truths)."""
    hits = counted = truths = 0
    for image in coco["images"]:
        free, crowds = [], []
        for annotation in coco["annotations"]:
            if (annotation["image_id"], annotation["category_id"]) == (image["id"], label + 1):
                x, y, w, h = annotation["bbox"]
                (crowds if annotation["iscrowd"] else free).append((x, y, x + w, y + h))
        truths += len(free)
        if image["id"] not in found:
            continue
        here = found[image["id"]]
        chosen = [
            (score, box.tolist())
            for box, score, its in zip(here.boxes, here.scores, here.labels, strict=True)
            if its == label and score >= threshold
        ]
        for _, box in sorted(chosen, key=lambda entry: -entry[0]):
            ious = [
                overlap(box, other) / (area(box) + area(other) - overlap(box, other))
                for other in free
            ]
            if ious and max(ious) >= 0.5:
                free.pop(ious.index(max(ious)))
                hits += 1
                counted += 1
            elif not any(overlap(box, crowd) / area(box) >= 0.5 for crowd in crowds):
                counted += 1
    return hits, counted, truths


def figures(counts):
    return counts.true_positives, counts.detections, counts.ground_truths


@pytest.mark.parametrize("seed", range(3))
def test_counts_equal_those_of_a_greedy_matcher_at_every_threshold(seed):
    coco, found = random_data(seed)
    evaluation = Evaluation(coco, found)
    # Scores are tenths in single precision. All candidates differ from them by 0.02 or more.
    for threshold in np.arange(0.025, 1, 0.05):
        expected = [greedy_counts(coco, found, threshold, label) for label in range(4)]
        assert [figures(evaluation.counts(threshold, label)) for label in range(4)] == expected
        totals = tuple(map(sum, zip(*expected, strict=True)))
        assert figures(evaluation.counts(threshold)) == totals
        rows = evaluation.per_class(threshold)
        assert rows.index.tolist() == list(CLASSES)
        assert (rows["detections"].sum(), rows["ground_truths"].sum()) == totals[1:]
        assert (rows["recall"] * rows["ground_truths"]).sum() == pytest.approx(totals[0])
        assert (rows["precision"] * rows["detections"]).sum() == pytest.approx(totals[0])
    assert all(
        0 < hits < min(counted, truths)
        for hits, counted, truths in [
            figures(evaluation.counts(0.025, label)) for label in range(3)
        ]
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_counts_of_images_add_up_to_those_of_the_subset(seed):
    coco, found = random_data(seed)
    evaluation = Evaluation(coco, found)
    by_image = evaluation.image_counts()
    assert by_image.shape == (3, len(coco["images"]), len(CONFIDENCE_THRESHOLDS))
    for at, threshold in enumerate(CONFIDENCE_THRESHOLDS):
        assert tuple(by_image[:, :, at].sum(axis=1)) == figures(evaluation.counts(threshold))


def test_an_image_alone_has_its_own_counts():
    coco, found = random_data(0)
    by_image = Evaluation(coco, found).image_counts()
    for position, image in enumerate(sorted(coco["images"], key=lambda image: image["id"])):
        annotations = [a for a in coco["annotations"] if a["image_id"] == image["id"]]
        one = {**coco, "images": [image], "annotations": annotations}
        alone = Evaluation(one, {k: v for k, v in found.items() if k == image["id"]})
        np.testing.assert_array_equal(by_image[:, position], alone.image_counts()[:, 0])


def test_a_score_equal_to_a_candidate_counts_there():
    evaluation = Evaluation(
        subset({1: [(RED, (0, 0, 10, 10))]}),
        {1: detections((RED, (0, 0, 10, 10), CONFIDENCE_THRESHOLDS[9]))},
    )
    hits = evaluation.image_counts()[0, 0]
    assert hits.tolist() == [
        evaluation.counts(candidate).true_positives for candidate in CONFIDENCE_THRESHOLDS
    ]


def test_the_best_confidence_threshold_is_the_first_maximum_of_the_greedy_matcher():
    coco, found = random_data(0)
    measures = []
    for threshold in CONFIDENCE_THRESHOLDS:
        hits, counted, truths = np.sum(
            [greedy_counts(coco, found, threshold, label) for label in range(4)], axis=0
        )
        measures.append(2 * hits / (counted + truths))
    best = CONFIDENCE_THRESHOLDS[measures.index(max(measures))]
    assert 0.025 < best < 0.975
    assert Evaluation(coco, found).best_confidence_threshold() == pytest.approx(best)


def test_counts_do_not_rise_with_the_threshold():
    evaluation = Evaluation(*random_data(0))
    counts = [evaluation.counts(threshold) for threshold in np.linspace(0, 1, 101)]
    for lower, higher in itertools.pairwise(counts):
        assert lower.true_positives >= higher.true_positives
        assert lower.detections >= higher.detections
        assert lower.ground_truths == higher.ground_truths
    assert counts[0].detections > counts[-1].detections


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_equals_that_of_pycocotools(seed, capsys):
    coco, found = random_data(seed)
    truth = COCO()
    truth.dataset = copy.deepcopy(coco)
    truth.createIndex()
    results = [
        {
            "image_id": image_id,
            "category_id": int(label) + 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": float(score),
        }
        for image_id, here in found.items()
        for (x1, y1, x2, y2), score, label in zip(
            here.boxes.astype(float), here.scores, here.labels, strict=True
        )
    ]
    plain = COCOeval(truth, truth.loadRes(results), "bbox")
    plain.evaluate()
    plain.accumulate()
    plain.summarize()
    capsys.readouterr()

    evaluation = Evaluation(coco, found)
    assert capsys.readouterr().out == ""
    assert evaluation.average_precision() == pytest.approx(plain.stats[0], abs=1e-6)
    assert evaluation.average_precision(0.5) == pytest.approx(plain.stats[1], abs=1e-6)
    assert evaluation.average_precision(0.75) == pytest.approx(plain.stats[2], abs=1e-6)
    per_class = plain.eval["precision"][0, :, :3, 0, 2].mean(axis=0)
    assert evaluation.per_class()["ap50"].tolist()[:3] == pytest.approx(per_class, abs=1e-6)
    assert 0.1 < evaluation.average_precision() < 0.9


def test_evaluation_does_not_change_the_annotations():
    coco, found = random_data(0)
    before = copy.deepcopy(coco)
    Evaluation(coco, found)
    assert coco == before


# Tables


def test_the_figures_of_each_class_equal_those_found_by_hand(two_classes):
    expected = pd.DataFrame(
        {
            "ground_truths": [2, 2],
            "detections": [2, 1],
            "f-measure": [2 / 4, 2 / 3],
            "precision": [1 / 2, 1.0],
            "recall": [1 / 2, 1 / 2],
            "ap50": [51 / 101, 51 / 101],
        },
        index=pd.Index(["red", "white"], name="class"),
    )
    pd.testing.assert_frame_equal(two_classes.per_class(0.65), expected)


def test_the_table_has_a_row_for_each_class(two_classes):
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in two_classes.table().splitlines()
        if line.startswith("|")
    ]
    assert rows == [
        ["class", "gts", "dets", "recall", "ap"],
        ["red", "2", "4", "0.500", "0.505"],
        ["white", "2", "1", "0.500", "0.505"],
        ["mAP", "", "", "", "0.505"],
    ]


def test_average_precision_by_size_is_that_of_pycocotools():
    coco, found = random_data(0)
    evaluation = Evaluation(coco, found)
    truth = COCO()
    truth.dataset = copy.deepcopy(coco)
    truth.createIndex()
    rows = [row for image, one in found.items() for row in one.coco_results(image)]
    plain = COCOeval(truth, truth.loadRes(rows), "bbox")
    plain.evaluate()
    plain.accumulate()
    plain.summarize()
    known = plain.eval["precision"][:, :, :, 1:, 2]
    table = evaluation.average_precision_by_size()
    for at, size in enumerate(metrics.SIZES):
        own = known[..., at][known[..., at] > -1]
        assert table[size].mean() == pytest.approx(own.mean() if own.size else np.nan, nan_ok=True)


def test_precision_at_recalls_averages_to_ap50(two_classes):
    for label in (None, RED, WHITE):
        mean = two_classes.precision_at_recalls(label).mean()
        assert mean == pytest.approx(two_classes.average_precision(0.5, label))
