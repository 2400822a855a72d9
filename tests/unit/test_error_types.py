"""The error types of TIDE, by hand and against tidecv."""

import numpy as np
import pytest
from test_metrics import RED, WHITE, detections, subset

from detmake.detections import Detections
from detmake.evaluation.error_types import TYPES, classify, costs
from detmake.evaluation.overlaps import overlaps

BOX = (0, 0, 20, 20)


@pytest.mark.parametrize(
    ("label", "box", "kind"),
    [
        (RED, (0, 0, 20, 18), ""),
        (RED, (0, 8, 20, 28), "localization"),  # IoU 0.43
        (WHITE, (0, 0, 20, 18), "classification"),
        (WHITE, (0, 8, 20, 28), "both"),
        (RED, (0, 18, 20, 38), "background"),  # IoU 0.05
    ],
)
def test_the_type_of_one_detection(label, box, kind):
    found = {1: detections((label, box, 0.9))}
    (image,) = overlaps(subset({1: [(RED, BOX)]}), found)
    types, _, missed = classify(image)
    assert list(types) == [kind]
    assert list(missed) == [kind in ("both", "background")]


def test_a_second_detection_of_an_object_is_a_duplicate():
    found = {1: detections((RED, BOX, 0.9), (RED, (0, 0, 20, 18), 0.8))}
    (image,) = overlaps(subset({1: [(RED, BOX)]}), found)
    assert list(classify(image)[0]) == ["", "duplicate"]


def test_an_image_without_annotations():
    (image,) = overlaps(subset({1: []}), {1: detections((RED, BOX, 0.9))})
    assert list(classify(image)[0]) == ["background"]


def test_costs_by_hand():
    """Of two objects one is found, after a detection on the background: AP is 0.5 · 51 / 101."""
    coco = subset({1: [(RED, BOX), (RED, (60, 0, 80, 20))]})
    found = {1: detections((RED, (100, 50, 120, 70), 0.9), (RED, BOX, 0.8))}
    table = costs(overlaps(coco, found), 2)
    assert table["count"].to_dict() == dict(zip(TYPES, (0, 0, 0, 0, 1, 1), strict=True))
    assert table.cost["background"] == pytest.approx(0.5 * 51 / 101)
    assert table.cost["missed"] == pytest.approx(0.5 * 50 / 101)
    assert table.cost.drop(["background", "missed"]).eq(0).all()


def noisy(seed, unseen=0):
    """A subset of three classes, and detections with every type of error.

    Each image has `unseen` boxes of a fourth class, which no detection touches.
    """
    rng = np.random.default_rng(seed)
    truths, found = {}, {}
    for image in range(1, 31):
        corners = rng.uniform(0, 150, (8, 2))
        boxes = np.hstack([corners, corners + rng.uniform(15, 50, (8, 2))])
        labels = rng.integers(0, 3, 8)
        truths[image] = list(zip(labels.tolist(), boxes.tolist(), strict=True))
        truths[image] += [(3, (400, 40 * k, 420, 40 * k + 20)) for k in range(unseen)]
        chosen = rng.integers(0, 8, 12)
        shifts = rng.normal(0, 1, (12, 4)) * rng.choice([0.5, 4, 12], (12, 1))
        stray = rng.uniform(0, 100, (4, 2))
        moved = boxes[chosen] + shifts
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 4)
        boxes = np.vstack([moved, np.hstack([stray, stray + 30])])
        guesses = np.append(labels[chosen], rng.integers(0, 3, 4))
        wrong = rng.random(16) < 0.2
        guesses[wrong] = rng.integers(0, 3, np.count_nonzero(wrong))
        found[image] = Detections(boxes, rng.random(16), guesses)
    return subset(truths, ("red", "white", "blue", "black")), found


@pytest.mark.parametrize(("seed", "unseen"), [(0, 0), (1, 0), (2, 0), (2, 3)])
def test_counts_and_costs_are_those_of_tidecv(seed, unseen):
    tidecv = pytest.importorskip("tidecv")
    coco, found = noisy(seed, unseen)
    truth, predicted = tidecv.Data("truth"), tidecv.Data("predicted")
    for entry in coco["annotations"]:
        truth.add_ground_truth(entry["image_id"], entry["category_id"], entry["bbox"])
    for image, one in found.items():
        for row in one.coco_results(image):
            predicted.add_detection(image, row["category_id"], row["score"], row["bbox"])
    run = tidecv.TIDE().evaluate(truth, predicted, mode=tidecv.TIDE.BOX)
    expected = run.fix_main_errors()
    counts = {type(error): 0 for error in run.errors}
    for error in run.errors:
        counts[type(error)] += 1
    table = costs(overlaps(coco, found), 4)
    order = tidecv.TIDE._error_types
    assert (table["count"] > 0).all()
    assert list(table["count"]) == [counts[kind] for kind in order]
    assert list(100 * table.cost) == pytest.approx([expected[kind] for kind in order], abs=1e-6)
