"""Average precision of counts, by hand."""

import numpy as np
import pytest

from detmake.evaluation.precision_recall import average_precision


def test_by_hand():
    """A true positive, a false one, a true one: precision 1 up to recall 0.5, then 2/3."""
    expected = (51 + 50 * 2 / 3) / 101
    assert average_precision([1, 1, 2], [1, 2, 3], 2) == pytest.approx(expected)
    assert average_precision([1, 2], [1, 3], 2) == pytest.approx(expected)


def test_rankings_side_by_side():
    aps = average_precision([[1, 2], [0, 1], [0, 0]], [[1, 2], [1, 2], [0, 0]], [2, 1, 0])
    assert aps[:2] == pytest.approx([1, 0.5])
    assert np.isnan(aps[2])


def test_without_detections():
    assert average_precision(np.zeros(0, int), np.zeros(0, int), 3) == 0
