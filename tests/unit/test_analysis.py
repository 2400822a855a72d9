"""Overlaps, confusion, agreement and suspected label errors, by hand."""

import numpy as np
import pytest
from pycocotools.coco import COCO
from test_error_types import noisy
from test_metrics import RED, WHITE, detections, random_data, subset

from detmake.evaluation import label_errors
from detmake.evaluation.agreement import agreement, compare, share
from detmake.evaluation.confusion import confusion_matrix
from detmake.evaluation.metrics import Evaluation
from detmake.evaluation.overlaps import box_iou, overlaps

BOX, OTHER, FAR = (0, 0, 20, 20), (50, 0, 70, 20), (100, 50, 120, 70)


def test_iou_by_hand():
    iou = box_iou(np.array([[0, 0, 10, 10]]), np.array([[5, 0, 15, 10], [20, 20, 30, 30]]))
    assert iou == pytest.approx(np.array([[1 / 3, 0]]))
    crowd = box_iou(np.array([[0, 0, 10, 10]]), np.array([[5, 0, 100, 100]]), crowds=True)
    assert crowd == pytest.approx(np.array([[0.5]]))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_true_positives_are_those_of_the_evaluation(seed, threshold):
    for coco, found in (random_data(seed), noisy(seed)):
        counts = Evaluation(coco, found).counts(threshold)
        images = overlaps(coco, found, threshold)
        hits = sum(np.count_nonzero(image.matches >= 0) for image in images)
        assert hits == counts.true_positives
        assert sum(len(image.matches) for image in images) == counts.detections
        classes = len(coco["categories"])
        matrix = confusion_matrix(images, classes)
        assert np.trace(matrix) == counts.true_positives
        assert matrix[:, :classes].sum() == counts.detections
        assert matrix[:classes].sum() == counts.ground_truths


def test_a_detection_in_a_crowd_does_not_count():
    coco = subset({1: [(RED, (0, 0, 100, 100), 1)]})
    (image,) = overlaps(coco, {1: detections((RED, BOX, 0.9), (WHITE, BOX, 0.8))})
    assert list(image.found.labels) == [WHITE]
    assert len(image.labels) == 0


def test_confusion_by_hand():
    coco = subset({1: [(RED, BOX), (RED, OTHER), (WHITE, FAR)], 2: []})
    found = {1: detections((RED, BOX, 0.9), (WHITE, OTHER, 0.8)), 2: detections((RED, BOX, 0.7))}
    expected = [[1, 1, 0], [0, 0, 1], [1, 0, 0]]  # rows: annotated red, white, background
    assert confusion_matrix(overlaps(coco, found), 2).tolist() == expected


def test_agreement_by_hand():
    first = {1: detections((RED, BOX, 0.9), (RED, OTHER, 0.8), (RED, FAR, 0.1))}
    second = {1: detections((RED, (0, 0, 20, 19), 0.9), (WHITE, OTHER, 0.8))}
    table = agreement([{"id": 1}, {"id": 2}], first, second, (0.5, 0.5))
    assert table.to_numpy().tolist() == [[1, 1, 1], [0, 0, 0]]
    assert share(table) == 0.5
    (one, is_shared), (other, is_also) = compare(first[1], second[1], (0.5, 0.5))
    assert (one.labels.tolist(), is_shared.tolist()) == ([RED, RED], [True, False])
    assert (other.labels.tolist(), is_also.tolist()) == ([RED, WHITE], [True, False])
    assert share(table.loc[[2]]) == 1


def suspects():
    """Red is found with confidence 0.95 and 0.6, of 5 red boxes; white is found with 0.7."""
    coco = subset(
        {
            1: [(RED, BOX), (RED, OTHER), (WHITE, (150, 0, 170, 20))],
            2: [(RED, BOX), (RED, OTHER), (RED, FAR), (WHITE, (150, 0, 170, 20))],
        }
    )
    for image in coco["images"]:
        image["file_name"] = f"{image['id']}.png"
    first = {
        1: detections((RED, BOX, 0.95), (RED, FAR, 0.9), (WHITE, FAR, 0.85), (WHITE, OTHER, 0.8)),
        2: detections((RED, BOX, 0.6), (WHITE, (150, 0, 170, 20), 0.7), (RED, FAR, 0.1)),
    }
    second = {1: detections((RED, OTHER, 0.2)), 2: detections((WHITE, OTHER, 0.5))}
    models = [overlaps(coco, found) for found in (first, second)]
    return label_errors.suspects(models, 0.5), coco


def test_suspects_by_hand():
    """Each detection on an annotation, or on a suspect, is left out."""
    table, _ = suspects()
    columns = ["kind", "suspicion", "image_id", "annotation_id", "annotated", "found", "x"]
    expected = [
        ["another class", 1.0, 1, 2, RED + 1, WHITE + 1, 50],  # 0.8: above 0.7
        ["not annotated", 2 / 3, 1, None, None, RED + 1, 100],  # 0.9: above 0.1 and 0.6
        ["not found", 1 / 2, 1, 3, WHITE + 1, None, 150],  # one of two is found
        ["not found", 2 / 5, 2, 6, RED + 1, None, 100],  # 0.1: below 0.95 and 0.6, of five
    ]
    rows = table[columns].astype(object)
    rows = rows.where(rows.notna(), None).to_dict("split")["data"]
    assert [row[:1] + row[2:] for row in rows] == [row[:1] + row[2:] for row in expected]
    assert [row[1] for row in rows] == pytest.approx([row[1] for row in expected])


def test_what_is_not_found_comes_after_what_is_found():
    coco = subset({1: [(RED, BOX), (RED, OTHER), (RED, (150, 0, 170, 20))]})
    coco["images"][0]["file_name"] = "1.png"
    found = detections((RED, BOX, 0.9), (RED, (150, 0, 170, 20), 0.8), (RED, FAR, 0.7))
    table = label_errors.suspects([overlaps(coco, {1: found})], 0.5)
    assert list(table.kind) == ["not annotated", "not found"]
    assert list(table.suspicion) == pytest.approx([0, 2 / 3])


def test_a_labelling_tool_loads_suspects():
    table, coco = suspects()
    loaded = COCO()
    loaded.dataset = label_errors.as_coco(table, coco)
    loaded.createIndex()
    assert [entry["category_id"] for entry in loaded.anns.values()] == [2, 1, 2, 1]
    assert loaded.anns[2]["bbox"] == [100, 50, 20, 20]


def test_nothing_is_suspect_of_a_perfect_model():
    coco = subset({1: [(RED, BOX)], 2: []})
    for image in coco["images"]:
        image["file_name"] = "a.png"
    table = label_errors.suspects([overlaps(coco, {1: detections((RED, BOX, 0.9))})], 0.5)
    assert table.empty
    assert label_errors.as_coco(table, coco)["images"] == []
