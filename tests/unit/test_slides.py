"""The embedded slides dataset: fields of cells side by side, with small objects."""

import json

import cv2
import numpy as np
import pytest

from detmake.data import cells, slides


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    """One slide of three fields in a row and two in a column, and its annotations."""
    folder = tmp_path_factory.mktemp("slides")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(slides.SUBSETS, "train", 1)
        patch.setattr(slides, "COLUMNS", 3)
        patch.setattr(slides, "ROWS", 2)
        slides.write_subset(folder, "train")
    coco = json.loads((folder / "_annotations.coco.json").read_text())
    return cv2.imread(str(folder / "slide_0.png")), coco


def test_a_slide_is_put_together_from_fields(slide):
    image, coco = slide
    assert image.shape == (2 * cells.HEIGHT, 3 * cells.WIDTH, 3)
    assert coco["images"] == [
        {"id": 0, "file_name": "slide_0.png", "width": 3 * cells.WIDTH, "height": 2 * cells.HEIGHT}
    ]
    fields = [
        image[y : y + cells.HEIGHT, x : x + cells.WIDTH]
        for y in range(0, image.shape[0], cells.HEIGHT)
        for x in range(0, image.shape[1], cells.WIDTH)
    ]
    assert len({field.tobytes() for field in fields}) == 6
    assert np.ptp([field.mean() for field in fields]) > 5  # each has its own stain and light


def test_platelets_are_small_and_white_cells_are_not(slide):
    _, coco = slide
    assert [category["name"] for category in coco["categories"]] == ["Platelets", "WBC"]
    sides = {number: [] for number in (1, 2)}
    for entry in coco["annotations"]:
        sides[entry["category_id"]].append(entry["bbox"][2:])
    platelets, white = (np.array(boxes) for boxes in sides.values())
    assert 6 * 3 <= len(platelets) < 6 * 8
    assert platelets.min() > 9
    assert platelets.max() < 25
    assert np.median(white) > 50


def test_boxes_are_where_the_objects_are(slide):
    """Platelets are darker than their surroundings, on average."""
    image, coco = slide
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(float)
    contrasts = []
    for entry in coco["annotations"]:
        x, y, width, height = (round(value) for value in entry["bbox"])
        around = grey[max(y - 6, 0) : y + height + 6, max(x - 6, 0) : x + width + 6]
        middle = grey[y : y + height, x : x + width]
        inner = middle[height // 4 : -(height // 4), width // 4 : -(width // 4)]
        contrasts.append(around.mean() - inner.mean())
    assert np.mean(contrasts) > 10
