"""Predictions as a COCO result file."""

import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from test_metrics import detections, random_data

from detmake.evaluation import predictions
from detmake.evaluation.metrics import Evaluation


def test_pycocotools_loads_them(tmp_path):
    coco, found = random_data(0)
    file = tmp_path / "predictions.json"
    predictions.write(file, found)
    truth = COCO()
    truth.dataset = coco
    truth.createIndex()
    loaded = truth.loadRes(str(file))
    assert len(loaded.anns) == sum(len(one.scores) for one in found.values())


def test_a_file_by_hand(tmp_path):
    file = tmp_path / "predictions.json"
    predictions.write(file, {7: detections((1, (10, 20, 14, 30), 0.5)), 9: detections()})
    row = {"image_id": 7, "category_id": 2, "bbox": [10, 20, 4, 10], "score": 0.5}
    assert json.loads(file.read_text()) == [row]
    predictions.write(file, {})
    assert json.loads(file.read_text()) == []
    assert predictions.read(file) == {}


def test_the_figures_of_what_is_read_are_those_of_what_was_written(tmp_path):
    coco, found = random_data(1)
    predictions.write(tmp_path / "predictions.json", found)
    read = predictions.read(tmp_path / "predictions.json")
    first, second = Evaluation(coco, found), Evaluation(coco, read)
    assert second.average_precision() == pytest.approx(first.average_precision(), abs=1e-12)
    assert second.counts(0.3) == first.counts(0.3)
    for image, one in read.items():
        np.testing.assert_allclose(one.boxes, found[image].boxes, rtol=1e-6)
        np.testing.assert_array_equal(one.labels, found[image].labels)
