"""Where images are cut."""

import json

import numpy as np
import pytest

from detmake.tiling import Tiling


def test_tiles_are_evenly_spread_and_the_whole_image_comes_last():
    """Steps of at most 80 and 60: two gaps of 75 in a row, one of 50 between rows."""
    windows = Tiling((100, 75), 0.2, True).windows(250, 125)
    assert windows == [
        *[(0, 0, 100, 75), (75, 0, 175, 75), (150, 0, 250, 75)],
        *[(0, 50, 100, 125), (75, 50, 175, 125), (150, 50, 250, 125)],
        (0, 0, 250, 125),
    ]
    assert Tiling((100, 75), 0.2, False).windows(250, 125) == windows[:-1]


@pytest.mark.parametrize("size", [(100, 75), (99, 20), (1, 1)])
def test_an_image_that_is_not_larger_than_a_tile_is_not_cut(size):
    assert Tiling((100, 75), 0.2, True).windows(*size) == [(0, 0, *size)]


def test_an_image_may_be_larger_in_one_direction():
    windows = Tiling((100, 75), 0.0, False).windows(200, 40)
    assert windows == [(0, 0, 100, 40), (100, 0, 200, 40)]


@pytest.mark.parametrize("overlap", [0.0, 0.15, 0.2, 1 / 3, 0.5])
@pytest.mark.parametrize("tile", [64, 67, 100])
@pytest.mark.parametrize("side", [65, 101, 333, 1000])
def test_tiles_cover_the_image_and_show_each_object_of_the_overlap_whole(side, tile, overlap):
    tiling = Tiling((tile, tile), overlap, False)
    common = tiling.common[0]
    assert common >= overlap * tile - 1e-6
    starts = sorted({window[0] for window in tiling.windows(side, side)})
    ends = np.minimum(np.add(starts, tile), side)
    assert starts[0] == 0
    assert ends[-1] == side
    for left in range(side - max(common, 1) + 1):
        right = left + max(common, 1)
        assert any(start <= left and right <= end for start, end in zip(starts, ends, strict=True))


def test_a_tiling_travels_as_json():
    tiling = Tiling((100, 75), 0.2, True)
    assert Tiling.described(json.loads(json.dumps(tiling.describe()))) == tiling
    assert Tiling.described(None) is None
