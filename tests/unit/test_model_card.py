"""The model card: counts, figures and limits of a dataset that is computed by hand."""

import numpy as np
import pytest

from detmake.detections import Detections
from detmake.report import model_card

LABELS = ["boxes", "_d|g_"]


def subset(name, boxes, licenses=(), shape=(640, 480)):
    """A prepared subset of one image; boxes are (class, width)."""
    return {
        "categories": [{"id": k, "name": label} for k, label in enumerate(LABELS, start=1)],
        "licenses": list(licenses),
        "images": [{"id": 1, "width": shape[0], "height": shape[1], "sha256": name}],
        "annotations": [
            {
                "id": number,
                "image_id": 1,
                "category_id": label + 1,
                "bbox": [50.0 * number, 0.0, width, width],
                "area": width**2,
                "iscrowd": 0,
            }
            for number, (label, width) in enumerate(boxes, start=1)
        ],
    }


def card(evaluated="test", description=(), performance=(), start="From *.", **changes):
    data = {
        "train": subset("a", [(0, 20.0), (1, 20.0), (1, 20.0)], [{"name": "MIT", "url": "u"}]),
        "val": subset("b", [(0, 20.0)]),
        "test": subset("c", [(0, 20.0), (0, 40.0)], [{"name": "MIT", "url": "u"}]),
    }
    data |= changes
    figures = {"f-measure": 2 / 3, "precision": 1.0, "recall": 0.5}
    return model_card.text(
        {
            "template": {"name": "ATSS"},
            "labels": LABELS,
            "input_size": [416, 320],
            "confidence_threshold": 0.4,
            "iou_threshold": 0.6,
            **dict(description),
        },
        {
            **figures,
            "mAP50": 0.5,
            "mAP": 0.5,
            "confidence_threshold": 0.35,
            "at_validated_threshold": {"f-measure": 0.625, "confidence_threshold": 0.4},
            "measured_with": {"device": "CPU", "cpu": "a CPU"},
            "per_class": {
                "boxes": figures | {"ground_truths": 2, "ap50": 0.5},
                "_d|g_": dict.fromkeys(figures, 0.0) | {"ground_truths": 0, "ap50": None},
            },
            **dict(performance),
        },
        data,
        evaluated,
        {1: Detections(np.array([[50.0, 0, 70, 20]]), np.array([0.9]), np.array([0]))},
        start,
    )


def rows(text):
    lines = [line.replace(r"\|", "¦") for line in text.splitlines() if line.startswith("| ")]
    return {line.split("|")[1].strip(): line.split("|")[2:-1] for line in lines}


def test_counts_figures_and_classes():
    table = {name: [cell.strip() for cell in cells] for name, cells in rows(card()).items()}
    assert table["train"] == ["1", "3", "1", "2"]
    assert table["test"] == ["1", "2", "2", "0"]
    assert table["F-measure"] == ["0.667", "0.667 to 0.667"]  # one image has no other sample
    assert table["boxes"] == ["2", "0.667", "1.000", "0.500", "0.500"]
    assert table[r"\_d¦g\_"] == ["0", "0.000", "0.000", "0.000", "–"]


def test_the_f_measure_at_the_threshold_of_the_model():
    assert "at a confidence threshold of 0.35, on a CPU" in card()
    assert "At 0.4, the F-measure is 0.625. The intervals" in card()
    own = {"at_validated_threshold": {"f-measure": 2 / 3, "confidence_threshold": 0.35}}
    assert "At 0.35" not in card(performance=own)


def test_limits_name_rare_classes_and_sizes_that_are_missing():
    text = card()
    assert "hardly: boxes (2), \\_d\\|g\\_ (0)." in text
    assert "Objects that COCO calls large" in text
    assert "Images of other sizes than 640 pixels wide and 480 high." in text


@pytest.mark.parametrize(
    "changes, said",
    [
        ({}, None),
        ({"evaluated": "val"}, "also chose the weights"),
        ({"test": subset("b", [(0, 20.0), (0, 40.0)])}, "also chose the weights"),
        ({"test": subset("a", [(0, 20.0), (0, 40.0)])}, "test subset that are in train, too: 1."),
    ],
)
def test_images_that_do_not_measure_fairly_are_named(changes, said):
    text = card(**changes)
    warned = [part for part in ("also chose the weights", "are in train") if part in text]
    assert bool(warned) == bool(said)
    assert said is None or said in text


def test_names_and_licenses_are_shown_as_they_are():
    template = {"id": "x", "name": "<b>mine</b>"}
    text = card(description={"template": template}, start="From [a](b).pth.")
    assert r"# Model card: \<b\>mine\</b\>" in text
    assert r"detmake. From \[a\](b).pth." in text
    licensed = {"val": subset("b", [(0, 20.0)], [{"name": "<script>"}])}
    assert r"licenses of the data: MIT u; \<script\>." in card(**licensed)


def test_licenses_of_the_data():
    assert "declare these licenses of the data: MIT u." in card()
    unknown = {name: subset(name, [(0, 20.0)]) for name in ("train", "val", "test")}
    assert "declare no license of the data" in card(**unknown)


def test_an_int8_model_says_what_it_needs():
    made = {"method": "post-training quantization", "target": "vnni"}
    assert "int8" not in card()
    assert "needs a CPU with VNNI or AMX" in card(performance={"quantization": made})


@pytest.mark.parametrize(
    "pretrained, weights, said",
    [
        (None, None, "random weights"),
        (
            {"source": "/home/me/a.pth"},
            None,
            "from a.pth. Their license: the configuration",
        ),
        ({"source": "https://b/c.pth", "license": "MIT"}, None, "from https://b/c.pth. Their lic"),
        ({"source": "https://b/c.pth", "license": "MIT"}, None, "license: MIT."),
        ({"source": "previous", "license": "MIT"}, None, "of the same run. Their license: MIT."),
        (None, "/home/me/d.pth", "those of d.pth, whose license is not known"),
    ],
)
def test_the_origin_of_the_weights(pretrained, weights, said):
    text = model_card.origin(pretrained, weights)
    assert said in text
    assert "/home/me" not in text
