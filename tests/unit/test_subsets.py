"""What later steps read from a prepared subset."""

import json
from pathlib import Path

import numpy as np

from detmake.data import subsets

COCO = {
    "info": {"image_root": "/data/images"},
    "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "white"}],
    "images": [
        {"id": 1, "file_name": "1.jpg", "width": 60, "height": 40},
        {"id": 2, "file_name": "sub/größe.jpg", "width": 200, "height": 50},
    ],
    "annotations": [
        {"image_id": 1, "bbox": [0, 0, 30, 10]},
        {"image_id": 2, "bbox": [50, 5, 20, 25]},
        {"image_id": 1, "bbox": [1, 1, 15, 30.5]},
    ],
}


def test_a_prepared_subset_is_read_back(tmp_path):
    (tmp_path / "train.json").write_text(json.dumps(COCO, ensure_ascii=False), encoding="utf-8")
    assert subsets.read(tmp_path / "train.json") == COCO


def test_class_names_and_image_paths():
    assert subsets.class_names(COCO) == ["red", "white"]
    assert subsets.image_paths(COCO) == [
        Path("/data/images/1.jpg"),
        Path("/data/images/sub/größe.jpg"),
    ]


def test_box_sizes_follow_the_resize_of_each_image():
    """Resizing does not keep the aspect ratio: width and height have factors of their own."""
    sizes = subsets.box_sizes(COCO, [120, 200])
    np.testing.assert_allclose(sizes, [[60, 50], [12, 100], [30, 152.5]])


def test_images_are_picked_evenly():
    paths = [Path(str(i)) for i in range(10)]
    assert subsets.evenly_spread(paths, 300) == paths
    assert subsets.evenly_spread(paths, 5) == paths[::2]
    assert subsets.evenly_spread(paths, 1) == paths[:1]
