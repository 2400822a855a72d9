"""What is said about a dataset before it is trained on."""

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from pycocotools import mask
from scipy.stats import binomtest

from detmake.data import statistics

INPUT_SIZE = (100, 200)
CLASSES = ["cat", "dog|wolf", "unseen"]

Box = tuple[int, list[float]]  # category id, xywh


def subset(
    boxes: list[list[Box]], digests: str, crowds: int = 0, size: tuple[int, int] = (200, 100)
) -> dict[str, Any]:
    """A prepared subset: the boxes and a letter for the SHA-256 of each image.

    Width is halved and height is doubled by resizing.
    """
    ids = range(7, 7 + len(boxes))
    entries = [
        (image, k, box) for image, listed in zip(ids, boxes, strict=True) for k, box in listed
    ]
    return {
        "info": {"image_root": "/images", "remarks": ["boxes without area, dropped: 3 (x, y, z)"]},
        "categories": [{"id": k, "name": name} for k, name in enumerate(CLASSES, start=1)],
        "images": [
            {
                "id": image,
                "file_name": f"{number}.png",
                "width": size[0],
                "height": size[1],
                "sha256": digest * 64,
                "dhash": hashlib.md5(digest.encode()).hexdigest(),  # of other images, far from it
            }
            for number, (image, digest) in enumerate(zip(ids, digests, strict=True))
        ],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "bbox": box,
                "iscrowd": int(number <= crowds),
            }
            for number, (image, category, box) in enumerate(entries, start=1)
        ],
    }


@pytest.fixture
def described(tmp_path):
    def describe(**parts: dict[str, Any]) -> dict[str, Any]:
        files = {name: tmp_path / f"{name}.json" for name in parts}
        for name, coco in parts.items():
            files[name].write_text(json.dumps(coco), encoding="utf-8")
        found = statistics.describe(files, INPUT_SIZE)
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        return found

    return describe


def test_images_boxes_and_classes_are_counted(described):
    found = described(
        train=subset(
            [[(1, [0, 0, 90, 90]), (1, [0, 0, 40, 40]), (2, [50, 0, 40, 40])], [], []],
            "abc",
            crowds=1,
        ),
        val=subset([[(2, [0, 0, 30, 40])]], "d", size=(300, 100)),
    )
    assert found["input_size"] == [100, 200]
    assert found["subsets"]["train"] == {
        "images": 3,
        "images_without_boxes": 2,
        "boxes": 2,
        "crowds": 1,
        "median_boxes": 0,
        "most_boxes": 2,
        "repairs": ["boxes without area, dropped: 3 (x, y, z)"],
    }
    assert found["subsets"]["val"]["images_without_boxes"] == 0
    assert found["image_sizes"] == [
        {"width": 200, "height": 100, "images": 3},
        {"width": 300, "height": 100, "images": 1},
    ]
    counts = {name: values["subsets"] for name, values in found["classes"].items()}
    assert list(counts) == CLASSES
    assert counts["cat"]["train"] == {"boxes": 1, "images": 1, "small": 0}
    assert counts["cat"]["val"] == {"boxes": 0, "images": 0, "small": 0, "recall": [0, 1]}
    assert counts["dog|wolf"]["train"]["boxes"] == counts["dog|wolf"]["val"]["boxes"] == 1
    # 40×40 becomes 20×80, and 30×40 in the wider image 10×80.
    sides = {name: values["shorter_side"] for name, values in found["classes"].items()}
    assert sides["cat"] == {"0.05": 20, "0.5": 20, "0.95": 20}
    assert sides["dog|wolf"] == {"0.05": 10.5, "0.5": 15, "0.95": 19.5}
    assert sides["unseen"] is None


def test_boxes_are_small_below_8_pixels_of_the_input(described):
    """Halved, a width of 16 is 8; doubled, a height of 3 is 6."""
    boxes = [(1, [0, 0, 16, 40]), (1, [0, 0, 15.9, 40]), (1, [50, 50, 100, 3])]
    found = described(train=subset([boxes], "a"))
    assert found["classes"]["cat"]["subsets"]["train"]["small"] == 2


def test_shapes_are_extreme_as_the_network_sees_them(described):
    """A factor of four lies between the ratios before and after resizing."""
    boxes = [
        (1, [0, 0, 40, 50]),  # 20×100: five times as high as wide, which is not more than five
        (1, [0, 0, 39, 50]),  # 19.5×100
        (1, [0, 0, 200, 10]),  # 100×20
        (2, [0, 0, 200, 9]),  # 100×18
    ]
    found = described(train=subset([boxes], "a"))["extreme_boxes"]
    assert found == [
        {"image": "train/0.png", "class": "cat", "box": [0, 0, 39, 50], "aspect_ratio": 5.13},
        {"image": "train/0.png", "class": "dog|wolf", "box": [0, 0, 200, 9], "aspect_ratio": 5.56},
    ]


def test_identical_images_are_leaks_if_they_span_subsets(described):
    box = [(1, [0, 0, 50, 50])]
    found = described(
        train=subset([box] * 5, "abbcd"), val=subset([box] * 2, "ea"), test=subset([box] * 2, "ff")
    )
    leak = ["train/0.png", "val/1.png"]
    assert found["leaks"] == [leak]
    assert found["identical_images"] == [
        leak,
        ["train/1.png", "train/2.png"],
        ["test/0.png", "test/1.png"],
    ]


def test_near_duplicates_are_not_the_same_file_and_leak_if_they_span_subsets(described):
    train, val = subset([[(1, [0, 0, 50, 50])]] * 4, "abcd"), subset([[(1, [0, 0, 50, 50])]], "e")
    other = int(train["images"][1]["dhash"], 16)
    train["images"][2]["dhash"] = f"{other ^ 0b1111111:032x}"  # 7 of 128 bits
    train["images"][3]["dhash"] = train["images"][0]["dhash"]
    val["images"][0]["dhash"] = train["images"][0]["dhash"]
    found = described(train=train, val=val)
    leak = ["train/0.png", "train/3.png", "val/0.png"]
    assert found["near_duplicates"] == [leak, ["train/1.png", "train/2.png"]]
    assert found["near_duplicate_leaks"] == [leak]
    said = "span several subsets (leaks): 1 (train/0.png ≈ train/3.png ≈ val/0.png)"
    assert f"- groups of near-duplicates that {said}" in statistics.markdown(found)
    train["images"][2]["sha256"] = train["images"][1]["sha256"]
    found = described(train=train, val=val)
    assert found["identical_images"] == [["train/1.png", "train/2.png"]]
    assert found["near_duplicates"] == [leak]


def test_boxes_are_nearly_the_same_within_an_image_and_a_class(described):
    box, shifted = [10, 10, 50, 50], [11, 10, 50, 50]  # IoU 49 / 51
    found = described(
        train=subset(
            [
                [(1, box), (2, shifted), (2, [100, 10, 50, 50])],
                [(1, shifted)],
                [(2, shifted), (2, box), (2, [13, 10, 50, 50])],  # 47 / 53 and 48 / 52
            ],
            "abc",
        )
    )
    assert found["nearly_same_boxes"] == [
        {"image": "train/2.png", "class": "dog|wolf", "boxes": [box, shifted], "iou": 0.961},
        {
            "image": "train/2.png",
            "class": "dog|wolf",
            "boxes": [shifted, [13, 10, 50, 50]],
            "iou": 0.923,
        },
    ]


def test_pairs_are_those_that_pycocotools_finds(described):
    rng = np.random.default_rng(0)
    boxes = rng.integers(20, 60, (30, 1, 4)) + rng.integers(-2, 3, (30, 12, 4))
    boxes = boxes.reshape(-1, 4).astype(float)
    categories = rng.integers(1, 3, len(boxes))
    coco = subset([list(zip(categories.tolist(), boxes.tolist(), strict=True))], "a")
    found = described(train=coco)["nearly_same_boxes"]
    iou = mask.iou(boxes, boxes, np.zeros(len(boxes)))
    expected = [
        iou[i, j]
        for i, j in zip(*np.triu_indices(len(boxes), k=1), strict=True)
        if iou[i, j] > 0.9 and categories[i] == categories[j]
    ]
    assert len(expected) > 100
    np.testing.assert_allclose(sorted(pair["iou"] for pair in found), sorted(expected), atol=5e-4)


@pytest.mark.parametrize("found, boxes", [(0, 1), (4, 5), (80, 100), (20, 20), (800, 1000)])
def test_the_interval_is_that_of_scipy(found, boxes):
    expected = binomtest(found, boxes).proportion_ci(method="wilson")
    assert statistics.wilson_interval(found / boxes, boxes) == pytest.approx(
        (expected.low, expected.high), abs=1e-6
    )


def test_a_class_with_fewer_than_60_boxes_is_too_rare_to_measure(described):
    """Classes of train are not measured."""
    boxes = [(1, [0, 0, 50, 50])] * 60 + [(2, [0, 0, 50, 50])] * 59
    found = described(train=subset([boxes[-3:]], "a"), val=subset([boxes], "b"))
    assert found["rare"] == [
        {"class": "dog|wolf", "subset": "val"},
        {"class": "unseen", "subset": "val"},
    ]


def test_the_page_shows_tables_and_what_to_look_at(described):
    boxes = [(1, [0, 0, 14, 40]), (2, [100, 0, 50, 40]), (2, [100.126, 0, 50, 40])]
    page = statistics.markdown(
        described(train=subset([boxes] * 4, "abbb"), val=subset([boxes], "a"))
    )
    lines = [" ".join(line.split()) for line in page.splitlines()]
    for line in (
        "| train | 4 | 0 | 12 | 3 | 3 | 0 |",
        "| 200×100 | 5 | 0.50 | 2.00 |",
        "| cat | 4 (4) | 1 (1) | 0.13–0.99 |",
        r"| dog\|wolf | 8 (4) | 2 (1) | 0.22–0.98 |",
        "| cat | 7.0 | 7.0 | 7.0 | 5 (100.0 %) |",
        "| unseen | | | | 0 (0.0 %) |",
        "- groups of identical images that span several subsets (leaks): 1 "
        "(train/0.png = val/0.png)",
        "- groups of identical images within one subset: 1 "
        "(train/1.png = train/2.png = train/3.png)",
        "- classes of which more than 5 % of the boxes are below 8 px: 1 (cat (100.0 %))",
        "- checking val: boxes without area, dropped: 3 (x, y, z)",
    ):
        assert line in lines, page
    assert "- pairs of boxes of one class with an IoU above 0.9: 5 (train/0.png dog|wolf" in page
    assert (
        "- boxes whose longer side is more than 5 times the shorter one, after resizing: 5 ("
        in page
    )


def test_rare_image_sizes_are_summed_up(described):
    """One size in each subset: five are listed."""
    parts = {
        name: subset([[(1, [0, 0, 50, 50])]], digest, size=(200 + ord(digest), 100))
        for name, digest in zip(
            ("train", "val", "test", "a", "b", "c", "d"), "abcdefg", strict=True
        )
    }
    page = " ".join(statistics.markdown(described(**parts)).split())
    assert "| other sizes: 2 | 2 | | |" in page
