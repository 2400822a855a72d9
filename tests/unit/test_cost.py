"""What a few iterations of a training cost here."""

import logging
import sys
import time

import numpy as np
import pytest
import tiny_training

from detmake.training import cost


@pytest.fixture
def files(tmp_path):
    return [tiny_training.write_subset(tmp_path, name, 24) for name in ("train", "val")]


def test_the_parts_are_measured_and_grow_with_the_input(files, tmp_path):
    log = logging.getLogger("detmake")
    level, before = log.level, set(tmp_path.iterdir())
    costs = {}
    for size in ((64, 64), (256, 256)):
        started = time.perf_counter()
        costs[size], snapshot = cost.measure(tiny_training.recipe(input_size=size), *files)
        wall = time.perf_counter() - started
        parts = costs[size]
        assert parts.iteration * cost.ITERATIONS + parts.validated_image * cost.VALIDATED < wall
        assert min(parts.iteration, parts.validated_image, parts.checkpoint) > 0
        assert 0 < parts.normalization < 6 * parts.iteration  # 24 images, in batches of four
        assert parts.memory > 2**25
        assert snapshot.input_size == list(size)
        assert snapshot.labels == ["disc"]
        snapshot.core()  # the weights fit
    small, large = costs.values()  # 16 times as many pixels
    assert large.iteration > 1.5 * small.iteration
    assert large.validated_image > 2 * small.validated_image
    assert log.level == level
    assert set(tmp_path.iterdir()) == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reset the peak")
def test_the_memory_is_that_of_the_measurement_not_of_what_came_before(files):
    before = np.ones(2**28)  # 2 GiB
    size = before.nbytes
    del before
    found, _ = cost.measure(tiny_training.recipe(), *files)
    assert found.memory < size


def test_a_dataset_of_few_images_is_repeated(tmp_path):
    train, val = (tiny_training.write_subset(tmp_path, name, 3) for name in ("train", "val"))
    found, _ = cost.measure(tiny_training.recipe("yolox_tiny"), train, val)
    assert found.iteration > 0
