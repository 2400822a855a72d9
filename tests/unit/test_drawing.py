"""Drawings show every box, its class and its score legibly."""

import numpy as np
import pytest

from detmake.detections import Detections
from detmake.runtime import drawing

GREY = 128


def picture_of(size, boxes, scores=(0.9,), classes=(0,), labels=("cell", "other")):
    width, height = size
    image = np.full((height, width, 3), GREY, np.uint8)
    found = Detections(np.float32(boxes), np.float32(scores), np.int64(classes))
    picture = drawing.draw(image, found, labels)
    assert (image == GREY).all()
    return picture


def changed(picture: np.ndarray) -> np.ndarray:
    return (picture.astype(int) - GREY != 0).any(axis=2)


@pytest.mark.parametrize(
    "size, factor", [((80, 60), 11), ((320, 256), 3), ((640, 480), 1), ((4000, 3000), 1)]
)
def test_small_images_are_enlarged(size, factor):
    picture = picture_of(size, np.zeros((0, 4)), (), ())
    assert picture.shape == (size[1] * factor, size[0] * factor, 3)
    assert not changed(picture).any()


@pytest.mark.parametrize("size", [(640, 480), (2000, 1500), (6000, 4000)])
def test_labels_scale_with_the_image(size):
    width, height = size
    box = [0.3 * width, 0.5 * height, 0.9 * width, 0.9 * height]
    above = changed(picture_of(size, [box]))[: int(0.49 * height)]
    rows = np.flatnonzero(above.any(axis=1))
    assert 0.01 * width < len(rows) < 0.04 * width


def test_a_box_is_drawn_at_its_coordinates():
    picture = picture_of((640, 480), [[100, 200, 300, 400]])
    colour = drawing.class_colours(2)[0]
    for x, y in [(100, 300), (300, 300), (200, 400)]:
        assert tuple(picture[y, x]) == colour
    assert tuple(picture[300, 200]) == (GREY,) * 3


@pytest.mark.parametrize("corner", [(0, 0), (630, 0), (0, 470), (630, 470), (-50, 100)])
def test_labels_stay_in_the_image(corner):
    x, y = corner
    alone = changed(picture_of((640, 480), [[300, 200, 310, 210]])).sum()
    beside = changed(picture_of((640, 480), [[x, y, x + 10, y + 10]])).sum()
    assert beside > 0.6 * alone


def test_classes_have_different_colours():
    colours = np.array(drawing.class_colours(20))
    distances = np.abs(colours[:, None] - colours[None]).sum(axis=2)
    np.fill_diagonal(distances, 999)
    assert distances.min() > 15
    assert distances[:5, :5].min() > 60


def test_the_best_detection_is_drawn_on_top():
    picture = picture_of((640, 480), [[100, 200, 300, 400]] * 2, (0.9, 0.5), (1, 0))
    assert tuple(picture[300, 100]) == drawing.class_colours(2)[1]


@pytest.mark.parametrize("count, shape", [(1, (324, 400)), (4, (324, 1600)), (5, (648, 1600))])
def test_a_contact_sheet_has_four_pictures_in_a_row(count, shape):
    tiles = [drawing.tile(np.zeros((30, 60, 3), np.uint8), "a.png") for _ in range(count)]
    assert drawing.contact_sheet(tiles).shape == (*shape, 3)
