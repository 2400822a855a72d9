"""Detection in tiles, compared with what one finds by hand."""

import known_model
import numpy as np
import pytest

from detmake.detections import Detections
from detmake.runtime import tiled
from detmake.runtime.inference import OpenvinoDetector
from detmake.tiling import Tiling

# Two tiles side by side, which have 40 pixels in common, and the whole image.
SIZE = (160, 100)
TILING = Tiling((100, 100), 0.4, True)
LEFT, RIGHT, WHOLE = range(3)


def detections(*rows):
    """Detections from rows of box, score and, if not 0, label."""
    rows = [(*row, 0)[:3] for row in rows]
    boxes, scores, labels = zip(*rows, strict=True) if rows else ((), (), ())
    return Detections(
        np.float32(boxes).reshape(-1, 4), np.float32(scores), np.array(labels, dtype=np.int64)
    )


def merged(parts, tiling=TILING):
    """Box, score and label of what is left of detections in each part."""
    windows = tiling.windows(*SIZE)
    found = [detections(*parts.get(part, ())) for part in range(len(windows))]
    kept = tiled.merge(found, windows, SIZE, tiling)
    return [
        (box.tolist(), round(float(score), 3), int(label))
        for box, score, label in zip(kept.boxes, kept.scores, kept.labels, strict=True)
    ]


def test_the_parts():
    assert TILING.windows(*SIZE) == [(0, 0, 100, 100), (60, 0, 160, 100), (0, 0, 160, 100)]
    assert TILING.common == (40, 40)


def test_boxes_of_tiles_are_moved_to_their_place_and_sorted_by_score():
    found = merged({LEFT: [([10, 10, 20, 20], 0.5)], RIGHT: [([50, 20, 60, 30], 0.7, 1)]})
    assert found == [([110, 20, 120, 30], 0.7, 1), ([10, 10, 20, 20], 0.5, 0)]


def test_of_one_object_in_two_tiles_the_higher_score_is_left():
    found = merged({LEFT: [([70, 10, 90, 30], 0.5)], RIGHT: [([11, 10, 31, 30], 0.6)]})
    assert found == [([71, 10, 91, 30], 0.6, 0)]


def test_objects_of_two_classes_are_both_left():
    found = merged({LEFT: [([70, 10, 90, 30], 0.5, 1)], RIGHT: [([10, 10, 30, 30], 0.6, 0)]})
    assert len(found) == 2


def test_boxes_of_one_tile_do_not_compete():
    """The model's own non-maximum suppression left them, with its own threshold."""
    pair = [([10, 10, 30, 30], 0.9), ([10, 14, 30, 34], 0.8)]  # IoU 0.67
    assert len(merged({LEFT: pair})) == 2


def test_a_box_cut_by_a_border_loses_against_the_whole_one():
    """The cut box has the higher score, and an IoU of only 0.4 with the whole one."""
    cut, whole = ([84, 10, 99.5, 30], 0.9), ([24, 10, 63, 30], 0.6)
    assert merged({LEFT: [cut], RIGHT: [whole]}) == [([84, 10, 123, 30], 0.6, 0)]


def test_a_doubtful_whole_box_does_not_beat_a_cut_one():
    cut, doubtful = ([84, 10, 99.5, 30], 0.9), ([24, 10, 63, 30], 0.3)
    found = merged({LEFT: [cut], RIGHT: [doubtful]})
    assert [score for _, score, _ in found] == [0.9, 0.3]


def test_the_border_of_the_image_cuts_no_box():
    """A small object at the image's border is no part of the large one that covers it."""
    small, large = ([140, 0, 160, 20], 0.5), ([20, 0, 160, 90], 0.9)
    found = merged({RIGHT: [([80, 0, 100, 20], 0.5)], WHOLE: [large]})
    assert found == [(large[0], 0.9, 0), (small[0], 0.5, 0)]


def test_parts_of_a_large_object_lose_against_the_box_of_the_whole_image():
    large = [5, 5, 155, 95]
    found = merged(
        {
            LEFT: [([5, 5, 100, 95], 0.9)],
            RIGHT: [([0, 5, 95, 95], 0.8)],
            WHOLE: [(large, 0.7)],
        }
    )
    assert found == [(large, 0.7, 0)]


def test_of_the_whole_image_small_boxes_do_not_count():
    """All that fit into what two tiles have in common, 40×40 pixels, are whole in a tile."""
    found = merged({WHOLE: [([10, 10, 50, 50], 0.9), ([10, 10, 51, 20], 0.8)]})
    assert found == [([10, 10, 51, 20], 0.8, 0)]


def test_nothing_found_is_nothing():
    assert merged({}) == []


def test_an_image_that_is_not_cut_keeps_all_detections():
    found = detections(([0, 0, 1, 1], 0.1), ([0, 0, 1, 1], 0.9))
    assert tiled.merge([found], [(0, 0, 50, 50)], (50, 50), TILING) is found


def test_as_many_are_kept_as_stated(monkeypatch):
    monkeypatch.setattr(tiled, "MAX_MERGED", 2)
    boxes = [([20 * n, 10, 20 * n + 10, 20], 0.1 * (n + 1)) for n in range(3)]
    assert [score for _, score, _ in merged({LEFT: boxes})] == [0.3, 0.2]
    # Of an object that two tiles show, one detection counts.
    right = [([10, 0, 30, 20], 0.8), ([60, 60, 80, 80], 0.7)]
    both = {LEFT: [([70, 0, 90, 20], 0.9)], RIGHT: right}
    assert [score for _, score, _ in merged(both)] == [0.9, 0.7]


# Detectors


def brightest(image):
    """Find the brightest pixel: a box around it, whose score is its value."""
    y, x = np.unravel_index(np.argmax(image[..., 0]), image.shape[:2])
    value = float(image[y, x, 0]) / 255
    return detections(([x, y, x + 1, y + 1], value)) if value else detections()


def test_a_detector_sees_each_tile_and_the_places_come_back():
    image = np.zeros((100, 160, 3), np.uint8)
    image[7, 3], image[50, 80], image[99, 159] = 51, 102, 204
    found = tiled.detect(brightest, image, TILING)
    # The left tile shows the second pixel, the right one the third.
    np.testing.assert_array_equal(found.boxes, [[159, 99, 160, 100], [80, 50, 81, 51]])
    assert tiled.detect(brightest, image, None).boxes.tolist() == [[159, 99, 160, 100]]


@pytest.fixture
def folder(tmp_path):
    return known_model.write(tmp_path, tiling=Tiling((24, 16), 0.25, True).describe())


@pytest.mark.parametrize("hint", ["LATENCY", "THROUGHPUT"])
def test_a_stream_of_images_of_all_sizes_yields_what_single_calls_return(folder, hint):
    rng = np.random.default_rng(0)
    sizes = [(40, 60), (16, 24), (8, 100), (90, 20), (5, 5)]
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    detector = OpenvinoDetector(folder, 2, hint)
    counts = []
    for image, found in zip(images, detector.stream(images), strict=True):
        expected = detector(image)
        np.testing.assert_array_equal(found.boxes, expected.boxes)
        np.testing.assert_array_equal(found.scores, expected.scores)
        np.testing.assert_array_equal(found.labels, expected.labels)
        height, width = image.shape[:2]
        assert (found.boxes <= [width, height, width, height]).all()
        counts.append(len(found.scores))
    assert counts[0] > counts[1] == 3  # the model finds three boxes in each part
    assert list(detector.stream([])) == []


def test_a_stream_passes_on_an_exception_of_its_source(folder):
    def images():
        yield np.zeros((40, 60, 3), np.uint8)
        raise OSError("the video ends here")

    with pytest.raises(OSError, match="the video ends here"):
        list(OpenvinoDetector(folder).stream(images()))
