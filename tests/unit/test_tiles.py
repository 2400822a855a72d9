"""Tiles of a train subset, compared with boxes found by hand."""

import hashlib
import json
import logging
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from detmake.data import subsets, tiles
from detmake.errors import InputError
from detmake.tiling import Tiling

# Two tiles side by side, with 40 pixels in common.
WIDTH, HEIGHT = 160, 100
TILING = Tiling((100, 100), 0.4, False)
BOTH = Tiling((100, 100), 0.4, True)
INPUT = (100, 100)


@pytest.fixture
def subset(tmp_path):
    """Make a prepared subset of noise; each image has a list of boxes, xywh; a crowd ends in 1."""

    def make(*images, size=(WIDTH, HEIGHT)):
        coco = {
            "info": {"image_root": str(tmp_path), "annotation_file": "a.json", "remarks": []},
            "categories": [{"id": 1, "name": "cell"}],
            "images": [],
            "annotations": [],
        }
        rng = np.random.default_rng(0)
        for number, boxes in enumerate(images, start=1):
            file = tmp_path / f"{number}.png"
            cv2.imwrite(str(file), rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
            entry = {"id": number, "file_name": file.name, "width": size[0], "height": size[1]}
            coco["images"].append(entry | {"sha256": f"{number:064}"})
            for x, y, width, height, *crowd in boxes:
                coco["annotations"].append(
                    {
                        "id": len(coco["annotations"]) + 1,
                        "image_id": number,
                        "category_id": 1,
                        "bbox": [x, y, width, height],
                        "area": width * height,
                        "iscrowd": int(bool(crowd)),
                    }
                )
        return coco

    return make


def cut(coco, folder, tiling=TILING, input_size=INPUT):
    """Boxes of each image of the result, by the image's file name."""
    file = folder / "tiles.json"
    file.write_text(json.dumps(tiles.cut(coco, tiling, input_size, folder / "tiles", "tiles")))
    made = subsets.read(file)
    found = {image["id"]: [] for image in made["images"]}
    for entry in made["annotations"]:
        found[entry["image_id"]].append([round(value, 3) for value in entry["bbox"]])
        assert entry["area"] == pytest.approx(entry["bbox"][2] * entry["bbox"][3])
    names = {image["id"]: Path(image["file_name"]).name for image in made["images"]}
    return made, {names[key]: boxes for key, boxes in found.items()}


def test_boxes_are_clipped_or_left_out_by_the_share_of_their_area_that_is_left(subset, tmp_path):
    """The right tile begins at x = 60: 70 % of the first box is left there, 65 % of the second."""
    made, found = cut(subset([[54, 10, 20, 30], [53, 50, 20, 30], [110, 5, 10, 10]]), tmp_path)
    assert found == {
        "1_0_0.png": [[54, 10, 20, 30], [53, 50, 20, 30]],
        "1_60_0.png": [[0, 10, 14, 30], [50, 5, 10, 10]],
    }
    assert made["info"]["tiling"] == {"size": [100, 100], "overlap": 0.4, "whole_image": False}
    assert [entry["id"] for entry in made["annotations"]] == [1, 2, 3, 4]


def test_a_box_of_less_than_a_pixel_is_left_out(subset, tmp_path):
    _, found = cut(subset([[59.7, 10, 1.1, 30], [10, 10, 5, 5]]), tmp_path)
    assert found == {"1_0_0.png": [[59.7, 10, 1.1, 30], [10, 10, 5, 5]]}


def test_images_of_tiles_are_the_parts_pixel_by_pixel(subset, tmp_path):
    made, _ = cut(subset([[10, 10, 20, 20], [130, 10, 20, 20]]), tmp_path)
    whole = cv2.imread(str(tmp_path / "1.png"))
    for image, left in zip(made["images"], (0, 60), strict=True):
        file = Path(image["file_name"])
        np.testing.assert_array_equal(cv2.imread(str(file)), whole[:, left : left + 100])
        assert (image["width"], image["height"]) == (100, 100)
        assert image["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_subset_names_the_tiles_beside_it(subset, tmp_path):
    coco, folder = subset([[10, 10, 20, 20]]), tmp_path / "one"
    folder.mkdir()
    _, names = cut(coco, folder, BOTH)
    assert {"1.png", "1_0_0.png"} <= names.keys()
    copied = shutil.copytree(folder, tmp_path / "two/deeper")
    shutil.rmtree(folder)
    paths = subsets.image_paths(subsets.read(copied / "tiles.json"))
    assert {path.parent for path in paths} == {tmp_path, copied / "tiles"}
    assert all(path.is_file() for path in paths)


def test_a_crowd_stays_but_is_no_object(subset, tmp_path):
    _, found = cut(subset([[55, 0, 10, 10, 1], [10, 10, 10, 10]], [[140, 0, 10, 10, 1]]), tmp_path)
    assert found == {"1_0_0.png": [[55, 0, 10, 10], [10, 10, 10, 10]]}


def test_background_is_a_quarter_of_the_tiles_with_boxes_evenly_spread(subset, tmp_path):
    """Eight tiles with boxes, and eight without: of these the first and the fifth stay."""
    _, found = cut(subset(*[[[10, 10, 20, 20]]] * 8), tmp_path)
    assert [name for name, boxes in found.items() if not boxes] == ["1_60_0.png", "5_60_0.png"]
    assert sum(map(bool, found.values())) == 8


def test_a_tile_with_a_rest_of_a_box_is_no_background(subset, tmp_path):
    """The first four images have a box that reaches a little into the right tile."""
    _, found = cut(subset(*[[[10, 10, 55, 20]]] * 4, [[10, 10, 20, 20]]), tmp_path)
    assert [name for name, boxes in found.items() if not boxes] == ["5_60_0.png"]


def test_whole_images_stay_where_they_are_without_what_is_too_small_there(subset, tmp_path):
    """Whole images are resized by 100 / 160 in width: 12 pixels become 7.5, and 13 become 8.1."""
    coco = subset([[10, 20, 12, 12], [30, 20, 13, 20]], [[10, 20, 12, 12]], [])
    made, found = cut(coco, tmp_path, BOTH)
    assert found["1.png"] == [[30, 20, 13, 20]]
    assert found["1_0_0.png"] == [[10, 20, 12, 12], [30, 20, 13, 20]]
    # The second image has only a box that is too small. The third is background, as its tiles are.
    assert "2.png" not in found
    assert "2_0_0.png" in found
    at = subsets.image_paths(made).index(tmp_path / "1.png")
    assert made["images"][at]["sha256"] == coco["images"][0]["sha256"]


def test_a_small_image_is_taken_whole_with_all_boxes(subset, tmp_path):
    made, found = cut(subset([[10, 20, 3, 3]], size=(80, 90)), tmp_path, BOTH)
    assert found == {"1.png": [[10, 20, 3, 3]]}
    assert list((tmp_path / "tiles").iterdir()) == []
    assert made["images"][0]["width"] == 80


def test_objects_that_no_tile_shows_are_reported(subset, tmp_path, caplog):
    large = [0, 0, 160, 100]
    with caplog.at_level(logging.WARNING, "detmake"):
        cut(subset([large, [10, 10, 20, 20]]), tmp_path)
        assert "1 of 2 boxes are in no tile" in caplog.text
        caplog.clear()
        cut(subset([large, [10, 10, 20, 20]]), tmp_path, BOTH)
        assert not caplog.text
    with pytest.raises(InputError, match="no tile shows at least 70 % of an object"):
        cut(subset([large]), tmp_path)


# The size of tiles


def test_a_given_size_is_the_longer_side_and_has_the_proportions_of_the_input(subset):
    coco = subset([[10, 10, 20, 20]])
    assert tiles.tiling_of(coco, (416, 320), 130, 0.2, True) == Tiling((130, 100), 0.2, True)
    assert tiles.tiling_of(coco, (320, 416), 130, 0, False) == Tiling((100, 130), 0.0, False)


def test_tiles_that_cut_nothing_are_reported(subset, caplog):
    with caplog.at_level(logging.WARNING, "detmake"):
        tiles.tiling_of(subset([[10, 10, 20, 20]]), (416, 320), 416, 0.2, True)
    assert "none is cut: lower tiling.size" in caplog.text


def test_automatic_tiles_show_the_median_small_box_with_16_pixels(subset):
    """Resized by 1/10: boxes of 20, 40 and 60 pixels are small, and the one of 300 is not."""
    boxes = [[0, 0, 20, 30], [0, 0, 90, 40], [0, 0, 60, 60], [0, 0, 300, 300]]
    coco = subset(boxes, size=(1600, 1200))
    assert tiles.automatic_size(coco, (160, 120)) == 160 * 40 / 16
    assert tiles.tiling_of(coco, (160, 120), "auto", 0.2, True).size == (400, 300)


def test_automatic_tiles_are_not_smaller_than_the_input(subset):
    assert tiles.automatic_size(subset([[0, 0, 5, 5]], size=(1600, 1200)), (160, 120)) == 160


@pytest.mark.parametrize(
    ("boxes", "size"),
    [
        ([[0, 0, 20, 20]] + 20 * [[0, 0, 160, 160]], (1600, 1200)),  # 4.8 % are small
        ([[0, 0, 5, 5]], (160, 120)),  # no image is larger than the input
    ],
)
def test_automatic_tiles_are_none_where_they_do_not_help(subset, tmp_path, boxes, size):
    coco = subset(boxes, size=size)
    tiling = tiles.tiling_of(coco, (160, 120), "auto", 0.2, True)
    assert tiling is None
    assert tiles.cut(coco, tiling, (160, 120), tmp_path / "tiles", "tiles") == coco
