"""The content of `performance.json`, compared with figures found by hand."""

import hashlib
import json

import cv2
import numpy as np
import pytest

from detmake.detections import Detections
from detmake.evaluation.metrics import Evaluation
from detmake.evaluation.performance import evaluate, figures, in_words
from detmake.tiling import Tiling

GIVEN = {"result_based_confidence_threshold": False, "confidence_threshold": 0.5}
RESULT_BASED = {"result_based_confidence_threshold": True, "confidence_threshold": 0.5}


def box(x, y):
    return [x, y, x + 10, y + 20]


def truth(number, image_id, category_id, x, y):
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [x, y, 10, 20],
        "area": 200,
        "iscrowd": 0,
    }


@pytest.fixture
def coco():
    """Two images with ids in no order, and three ground truths of two classes."""
    return {
        "info": {"annotation_file": "data/test/coco.json"},
        "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "white"}],
        "images": [{"id": 9, "width": 100, "height": 100}, {"id": 4, "width": 100, "height": 100}],
        "annotations": [
            truth(1, 9, 1, 0, 0),
            truth(2, 9, 2, 50, 50),
            truth(3, 4, 1, 30, 30),
        ],
    }


@pytest.fixture
def predictions():
    """By image, in order: detections right at 0.9, 0.8 and 0.4, wrong at 0.6 and 0.2."""
    return [
        Detections(
            np.float32([box(0, 0), box(50, 50), box(70, 0)]),
            np.float32([0.9, 0.8, 0.2]),
            np.int64([0, 1, 0]),
        ),
        Detections(np.float32([box(0, 0), box(30, 30)]), np.float32([0.6, 0.4]), np.int64([1, 0])),
    ]


def measured(coco, predictions, postprocessing, validated_threshold):
    ids = [image["id"] for image in coco["images"]]
    evaluation = Evaluation(coco, dict(zip(ids, predictions, strict=True)))
    return figures(evaluation, coco, postprocessing, validated_threshold)


def test_a_given_threshold_is_used(coco, predictions):
    performance = measured(coco, predictions, GIVEN, 0.7)
    assert performance["confidence_threshold"] == 0.5
    assert performance["precision"] == pytest.approx(2 / 3)
    assert performance["recall"] == pytest.approx(2 / 3)
    assert performance["f-measure"] == pytest.approx(2 / 3)
    assert (performance["detections"], performance["ground_truths"]) == (3, 3)


def test_a_result_based_threshold_has_the_best_f_measure(coco, predictions):
    performance = measured(coco, predictions, RESULT_BASED, 0.7)
    # F-measure: 6/8 from 0.2 on, 6/7 from 0.225, 4/6 from 0.425, 4/5 from 0.625.
    assert performance["confidence_threshold"] == 0.225
    assert performance["f-measure"] == pytest.approx(6 / 7)
    assert performance["detections"] == 4


@pytest.mark.parametrize("postprocessing", [GIVEN, RESULT_BASED])
def test_figures_at_the_validated_threshold_are_always_reported(coco, predictions, postprocessing):
    performance = measured(coco, predictions, postprocessing, 0.7)
    assert performance["at_validated_threshold"] == {
        "confidence_threshold": 0.7,
        "precision": 1,
        "recall": pytest.approx(2 / 3),
        "f-measure": pytest.approx(4 / 5),
    }


def test_a_performance_has_all_figures(coco, predictions):
    performance = measured(coco, predictions, GIVEN, 0.7)
    assert set(performance) == {
        "f-measure",
        "precision",
        "recall",
        "confidence_threshold",
        "at_validated_threshold",
        "mAP50",
        "mAP",
        "per_class",
        "ground_truths",
        "detections",
        "images",
        "annotations",
    }
    assert performance["images"] == 2
    assert performance["annotations"] == "data/test/coco.json"
    # In each class, wrong detections score lower than all right ones.
    assert (performance["mAP50"], performance["mAP"]) == pytest.approx((1, 1))
    assert performance["per_class"] == {
        "red": {
            "ground_truths": 2,
            "detections": 1,
            "precision": 1,
            "recall": 0.5,
            "f-measure": pytest.approx(2 / 3),
            "ap50": pytest.approx(1),
        },
        "white": {
            "ground_truths": 1,
            "detections": 2,
            "precision": 0.5,
            "recall": 1,
            "f-measure": pytest.approx(2 / 3),
            "ap50": pytest.approx(1),
        },
    }


def test_a_performance_can_be_stored_as_json(coco, predictions):
    performance = measured(coco, predictions, RESULT_BASED, 0.7)
    assert json.loads(json.dumps(performance, allow_nan=False)) == performance


def test_a_class_without_ground_truths_can_be_stored_as_json(coco, predictions):
    coco["annotations"] = [entry for entry in coco["annotations"] if entry["category_id"] == 1]
    performance = measured(coco, predictions, GIVEN, 0.7)
    stored = json.loads(json.dumps(performance, allow_nan=False))
    assert stored["per_class"]["white"]["ap50"] is None
    assert stored["per_class"]["red"]["ap50"] == pytest.approx(stored["mAP50"])


def test_images_without_detections_can_be_stored_as_json(coco):
    nothing = Detections(np.empty((0, 4)), np.empty(0), np.empty(0, dtype=int))
    performance = measured(coco, [nothing, nothing], RESULT_BASED, 0.7)
    stored = json.loads(json.dumps(performance, allow_nan=False))
    assert (stored["f-measure"], stored["mAP"], stored["detections"]) == (0, 0, 0)


def test_figures_in_words():
    """A quantized model is compared with the one that it was made of."""
    content = {"f-measure": 0.92519, "mAP50": 0.9306}
    assert in_words("IR", content) == "IR: F-measure 0.925, mAP50 0.931"
    content["quantization"] = {"drop_points": 0.2134}
    assert in_words("int8", content, 3.84) == (
        "int8: F-measure 0.925, −0.2 points on validation, 3.8 ms"
    )
    content["quantization"] = {"drop_points": -0.31}
    assert in_words("int8", content) == "int8: F-measure 0.925, +0.3 points on validation"
    content["quantization"] = {"drop_points": 0.0}
    assert in_words("int8", content) == "int8: F-measure 0.925, +0.0 points on validation"


class KnownDetector:
    """A detector with known detections; the first value of an image is their place in the list."""

    labels = ("red", "white")
    confidence_threshold = 0.7
    tiling = None

    def __init__(self, predictions):
        self.predictions = predictions

    def __call__(self, image):
        return self.predictions[image[0, 0, 0]]

    def stream(self, images):
        return map(self, images)


@pytest.mark.parametrize("postprocessing", [GIVEN, RESULT_BASED])
def test_a_detector_is_evaluated_on_the_files_of_a_subset(
    coco, predictions, postprocessing, tmp_path
):
    """Detections are assigned to the image that they were found in, whatever its id."""
    coco["info"]["image_root"] = str(tmp_path)
    for position, image in enumerate(coco["images"]):
        image["file_name"], image["sha256"] = f"{position}.png", "cd"[position]
        cv2.imwrite(str(tmp_path / f"{position}.png"), np.full((100, 100, 3), position, np.uint8))
    detector = KnownDetector(predictions)
    performance, found = evaluate(detector, coco, postprocessing, "test")
    assert found.keys() == {image["id"] for image in coco["images"]}
    assert performance.pop("images_per_second") > 0
    images = performance.pop("images_sha256")
    assert performance == measured(coco, predictions, postprocessing, 0.7)
    detector.tiling = Tiling((64, 48), 0.2, True)
    tiled, _ = evaluate(detector, coco, postprocessing, "test")
    assert tiled["images_sha256"] == images == hashlib.sha256(b"cd").hexdigest()
    assert tiled["tiling"] == {"size": [64, 48], "overlap": 0.2, "whole_image": True}
