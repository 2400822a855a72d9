"""The interval of a drop of F-measure."""

from dataclasses import replace

import numpy as np
import pytest
from test_metrics import RED, detections, random_data, subset

from detmake.evaluation import bootstrap
from detmake.evaluation.metrics import Evaluation


def weaker(found):
    """The detections of a model that misses a tenth of what another finds."""
    rng = np.random.default_rng(5)
    kept = {key: rng.random(len(one.scores)) > 0.1 for key, one in found.items()}
    return {
        key: replace(
            one,
            boxes=one.boxes[kept[key]],
            scores=one.scores[kept[key]],
            labels=one.labels[kept[key]],
        )
        for key, one in found.items()
    }


def best_f_measure(evaluation):
    return evaluation.counts(evaluation.best_confidence_threshold()).f_measure


def drawn(coco, found, times):
    """The evaluation of a subset that has each image as often as said, matched anew."""
    images, annotations, detections = [], [], {}
    for image, count in zip(sorted(coco["images"], key=lambda i: i["id"]), times, strict=True):
        for copy in range(count):
            identity = 1000 * (copy + 1) + image["id"]
            images.append(image | {"id": identity})
            for annotation in coco["annotations"]:
                if annotation["image_id"] == image["id"]:
                    new = {"image_id": identity, "id": len(annotations) + 1}
                    annotations.append(annotation | new)
            if image["id"] in found:
                detections[identity] = found[image["id"]]
    return Evaluation({**coco, "images": images, "annotations": annotations}, detections)


def test_the_interval_is_that_of_subsets_drawn_and_matched_anew(monkeypatch):
    coco, found = random_data(0)
    worse = weaker(found)
    images = len(coco["images"])
    monkeypatch.setattr(bootstrap, "RESAMPLES", 20)
    rng = np.random.default_rng(0)
    drops = []
    for _ in range(20):
        times = np.bincount(rng.integers(images, size=images), minlength=images)
        first, second = (best_f_measure(drawn(coco, each, times)) for each in (found, worse))
        drops.append(first - second)
    expected = np.quantile(drops, [0.025, 0.975])
    interval = bootstrap.drop_interval(Evaluation(coco, found), Evaluation(coco, worse))
    assert interval == pytest.approx(expected)
    assert interval[0] < interval[1]


def test_a_model_loses_nothing_to_itself():
    coco, found = random_data(0)
    assert bootstrap.drop_interval(Evaluation(coco, found), Evaluation(coco, found)) == (0, 0)


def test_the_interval_contains_the_drop_and_is_the_same_again():
    coco, found = random_data(1)
    first, second = Evaluation(coco, found), Evaluation(coco, weaker(found))
    low, high = bootstrap.drop_interval(first, second)
    assert low < best_f_measure(first) - best_f_measure(second) < high
    assert bootstrap.drop_interval(first, second) == (low, high)


def test_one_image_says_nothing_about_others():
    coco, found = random_data(0)
    first = {**coco, "images": coco["images"][:1]}
    key = first["images"][0]["id"]
    first["annotations"] = [box for box in coco["annotations"] if box["image_id"] == key]
    evaluation = Evaluation(first, {key: found[key]})
    assert bootstrap.drop_interval(evaluation, evaluation) == (-1, 1)


def test_a_subset_without_objects_has_no_drop():
    coco, found = random_data(0)
    empty = {**coco, "annotations": []}
    assert bootstrap.drop_interval(Evaluation(empty, found), Evaluation(empty, {})) == (0, 0)


def test_samples_are_the_figures_of_subsets_drawn_and_matched_anew(monkeypatch):
    coco, found = random_data(0)
    images = len(coco["images"])
    rng = np.random.default_rng(1)
    # Of equal scores, those of copied images would come in another order.
    found = {
        key: replace(one, scores=one.scores + rng.uniform(0, 0.01, len(one.scores)))
        for key, one in found.items()
    }
    monkeypatch.setattr(bootstrap, "RESAMPLES", 12)
    monkeypatch.setattr(bootstrap, "_AT_ONCE", 1000)  # in several steps
    samples = bootstrap.resample(Evaluation(coco, found), 0.3)
    rng = np.random.default_rng(0)
    for row in samples.itertuples(index=False):
        times = np.bincount(rng.integers(images, size=images), minlength=images)
        again = drawn(coco, found, times)
        expected = again.counts(0.3).f_measure, again.average_precision(0.5)
        assert tuple(row) == pytest.approx(
            (*expected, again.average_precision()), abs=1e-3
        )  # a recall may round
    low, high = bootstrap.interval(samples["mAP"])
    assert low < Evaluation(coco, found).average_precision() < high


def test_a_detection_half_in_a_crowd_counts_at_higher_ious(monkeypatch):
    """0.57 of the first one is in the crowd: AP is 1 at two of ten thresholds, 0.5 at the rest."""
    coco = subset({1: [(RED, (50, 0, 70, 20)), (RED, (0, 0, 40, 40), 1)]})
    found = {1: detections((RED, (20, 0, 55, 20), 0.9), (RED, (50, 0, 70, 20), 0.8))}
    evaluation = Evaluation(coco, found)
    assert evaluation.average_precision() == pytest.approx(0.6)
    monkeypatch.setattr(bootstrap, "RESAMPLES", 3)  # one image: each sample is the subset
    assert bootstrap.resample(evaluation, 0.3)["mAP"].to_list() == pytest.approx([0.6] * 3)


def test_a_subset_without_objects_has_no_samples():
    coco, found = random_data(0)
    samples = bootstrap.resample(Evaluation({**coco, "annotations": []}, found), 0.3)
    assert samples["mAP"].isna().all()
    assert samples["f-measure"].eq(0).all()
