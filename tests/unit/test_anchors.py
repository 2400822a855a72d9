"""Anchors fitted to boxes: they recover known clusters and cover boxes better than fixed ones."""

import numpy as np
import pytest

from detmake.errors import InputError
from detmake.model.anchors import fit, fit_scale

CLUSTERS = np.array([[12, 15], [40, 20], [30, 70], [90, 80], [60, 200], [250, 180]], float)


def clustered(count=40, spread=0.05):
    """Shuffled boxes around each of the clusters."""
    rng = np.random.default_rng(0)
    boxes = CLUSTERS.repeat(count, axis=0) * np.exp(rng.normal(0, spread, (count * 6, 2)))
    return rng.permutation(boxes)


def mean_best_iou(boxes, anchors):
    """Mean best IoU of boxes and anchors with the same center (YOLOv2: Redmon, 2017, table 1)."""
    boxes, anchors = boxes[:, None], np.asarray(anchors)[None]
    overlap = np.minimum(boxes, anchors).prod(axis=2)
    iou = overlap / (boxes.prod(axis=2) + anchors.prod(axis=2) - overlap)
    return iou.max(axis=1).mean()


@pytest.mark.parametrize("counts", [[6], [3, 3], [2, 2, 2], [1, 4, 1], [5, 1]])
def test_finer_levels_get_the_smaller_clusters(counts):
    """CLUSTERS are sorted by ascending area."""
    levels = fit(clustered(), counts)
    assert [len(level) for level in levels] == counts
    np.testing.assert_allclose(np.concatenate(levels), CLUSTERS, rtol=0.03)


def test_an_anchor_is_the_geometric_mean_of_its_boxes():
    """The logarithms of sizes are clustered."""
    boxes = np.array([[10, 40], [14, 45], [100, 20], [130, 26]], float)
    (anchors,) = fit(boxes, [2])
    expected = [[(10 * 14) ** 0.5, (40 * 45) ** 0.5], [(100 * 130) ** 0.5, (20 * 26) ** 0.5]]
    np.testing.assert_allclose(anchors, expected, atol=0.006)


def test_clusters_are_separated_by_ratio_not_by_difference():
    """By ratio, 10 and 20 are farther apart than 200 and 230; by difference, they are closer."""
    boxes = np.array([[10, 10], [20, 20], [200, 200], [230, 230]], float)
    (anchors,) = fit(boxes, [3])
    np.testing.assert_allclose(anchors[:2], [[10, 10], [20, 20]])


def test_anchors_cover_boxes_better_than_fixed_ones():
    rng = np.random.default_rng(1)
    boxes = np.exp(rng.normal([3.6, 3.9], [0.6, 0.5], (400, 2)))
    fitted = np.concatenate(fit(boxes, [5, 5]))
    # The sizes of the boxes at ten quantiles of the area.
    by_area = boxes[boxes.prod(axis=1).argsort()]
    quantiles = by_area[np.linspace(0, len(boxes) - 1, 12).astype(int)[1:-1]]
    # The twelve anchors of the first two levels of MMDetection's SSDLite.
    ssdlite = []
    for low, high in ((48, 100), (100, 150)):
        ssdlite += [[low, low], [(low * high) ** 0.5, (low * high) ** 0.5]]
        for root in (2**0.5, 3**0.5):
            ssdlite += [[low * root, low / root], [low / root, low * root]]
    covered = mean_best_iou(boxes, fitted)
    assert covered > mean_best_iou(boxes, quantiles) + 0.02
    assert covered > mean_best_iou(boxes, ssdlite) + 0.1


def test_the_same_boxes_give_the_same_anchors():
    boxes = clustered(spread=0.8)
    np.random.seed(1)
    first = fit(boxes, [4, 4])
    np.random.seed(2)
    assert fit(boxes, [4, 4]) == first


def test_anchors_are_plain_numbers():
    levels = fit(clustered(), [2, 4])
    assert {type(side) for level in levels for anchor in level for side in anchor} == {float}
    assert type(levels) is type(levels[0]) is type(levels[0][0]) is list


def test_as_many_sizes_as_anchors_are_enough():
    np.testing.assert_allclose(np.concatenate(fit(CLUSTERS, [4, 2])), CLUSTERS)


@pytest.mark.parametrize("boxes", [CLUSTERS[:5], CLUSTERS[[0, 1, 2, 3, 4] * 8]])
def test_too_few_different_sizes_are_refused(boxes):
    with pytest.raises(InputError, match=r"5 different sizes, expected at least 6") as error:
        fit(boxes, [3, 3])
    assert str(error.value).startswith("Train subset: ")


# The scale of ATSS's anchors


def squares(*sides):
    return np.array([[side, side] for side in sides], float)


def test_the_finest_anchor_is_as_large_as_the_smaller_boxes():
    """Of eleven sides, the 10th percentile is the second; 40 pixels are 5 strides of 8."""
    sides = [20, 40, *range(50, 140, 10)]
    assert fit_scale(squares(*sides), 8, 4, 8) == 5
    assert fit_scale(squares(*sides), 4, 4, 16) == 10


def test_long_boxes_count_by_their_area():
    assert fit_scale(np.array([[10, 160], [160, 10]], float), 8, 4, 8) == 5


@pytest.mark.parametrize("side, scale", [(2, 4), (8, 4), (64, 8), (320, 8)])
def test_the_scale_keeps_its_limits(side, scale):
    assert fit_scale(squares(side, side + 1), 8, 4, 8) == scale
