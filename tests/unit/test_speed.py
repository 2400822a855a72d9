"""Measuring speed, with a clock that only the measured models advance."""

import subprocess
import sys
from itertools import groupby
from pathlib import Path
from time import sleep

import numpy as np
import pandas as pd
import pytest

from detmake.evaluation import speed
from detmake.evaluation.speed import measure
from detmake.runtime import speed as runtime_speed

IMAGES = [np.full((2, 3, 3), value, dtype=np.uint8) for value in range(4)]


@pytest.mark.parametrize(("limit", "held"), [(1, 1), (36, 2), (37, 3), (10**9, 16)])
def test_fewer_images_are_read_if_they_are_large(monkeypatch, limit, held):
    """Each has 18 bytes."""
    monkeypatch.setattr(runtime_speed, "BYTES", limit)
    source = iter(10 * IMAGES)
    assert len(runtime_speed.hold(source)) == held
    assert len(list(source)) == 40 - held


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(runtime_speed, "perf_counter", clock)
    return clock


class TimedDetector:
    """A detector that takes the given times, in ms, and records the images it was called with."""

    def __init__(self, clock, called, streamed=None):
        self.clock, self.called_ms = clock, called
        self.streamed_ms = called if streamed is None else streamed
        self.called, self.streams = [], 0

    def __call__(self, image):
        self.clock.now += self.called_ms / 1000
        self.called.append(int(image[0, 0, 0]))

    def stream(self, images):
        self.streams += 1
        for image in images:
            self.clock.now += self.streamed_ms / 1000
            self.called.append(int(image[0, 0, 0]))
            yield image


class FunctionDetector:
    """A detector that calls a function for each image; `stream` replaces its stream."""

    def __init__(self, call, stream=None):
        self.call = call
        self.stream = stream or (lambda images: map(call, images))

    def __call__(self, image):
        return self.call(image)


def for_both(detector):
    """Use one detector for both latency and throughput."""
    return detector, detector


def test_latency_and_throughput_equal_those_by_hand(clock):
    models = {
        "slow": for_both(TimedDetector(clock, 20, 10)),
        "fast": (TimedDetector(clock, 5, 90), TimedDetector(clock, 90, 4)),
    }
    pd.testing.assert_frame_equal(
        measure(models, IMAGES),
        pd.DataFrame(
            {
                "latency_ms": [20.0, 5.0],
                "latency_p95_ms": [20.0, 5.0],
                "images_per_second": [100.0, 250.0],
            },
            index=pd.Index(["slow", "fast"], name="model"),
        ),
    )


def test_a_stream_of_calls_has_the_throughput_of_the_calls(clock):
    figures = measure({"snapshot": for_both(FunctionDetector(TimedDetector(clock, 8)))}, IMAGES)
    assert figures.loc["snapshot", "latency_ms"] == pytest.approx(8)
    assert figures.loc["snapshot", "images_per_second"] == pytest.approx(125)


def test_latency_is_the_median_and_throughput_counts_all_time(clock):

    def call(image):  # 2, 2, 2 and 10 ms: 4 ms on average
        clock.now += 0.010 if image[0, 0, 0] == 3 else 0.002

    figures = measure({"uneven": for_both(FunctionDetector(call))}, IMAGES)
    assert figures.loc["uneven", "latency_ms"] == pytest.approx(2)
    assert figures.loc["uneven", "images_per_second"] == pytest.approx(250, rel=0.03)


def test_throughput_counts_the_time_to_the_last_result(clock, monkeypatch):
    """The stream takes 6 images in 0.3 s and yields all its results 0.9 s later."""
    monkeypatch.setattr(runtime_speed, "TURN_SECONDS", 0.26)

    def stream(images):
        batch = []
        for image in images:
            clock.now += 0.05
            batch.append(image)
        clock.now += 0.9
        yield from batch

    figures = measure({"late": for_both(FunctionDetector(TimedDetector(clock, 1), stream))}, IMAGES)
    assert figures.loc["late", "images_per_second"] == pytest.approx(5)


def test_models_take_turns(clock):
    order = []

    def recorder(name):
        def call(image):
            clock.now += 0.02
            order.append(name)

        return for_both(FunctionDetector(call))

    measure({name: recorder(name) for name in "abc"}, IMAGES)
    assert [name for name, _ in groupby(order)] == list("abc") * (1 + runtime_speed.ROUNDS)


def test_every_model_gets_all_images_in_order_repeatedly(clock):
    models = {"slow": TimedDetector(clock, 70), "fast": TimedDetector(clock, 11)}
    measure({name: for_both(timed) for name, timed in models.items()}, IMAGES)
    for timed in models.values():
        assert len(timed.called) > 8
        assert timed.called == [index % 4 for index in range(len(timed.called))]


def test_every_turn_takes_the_same_time(clock):
    for milliseconds in (1, 15, 70):
        started = clock.now
        measure({"model": for_both(TimedDetector(clock, milliseconds))}, IMAGES)
        turns = 2 * (1 + runtime_speed.ROUNDS)
        expected = turns * runtime_speed.TURN_SECONDS
        assert expected <= clock.now - started <= expected + turns * 0.002 * milliseconds


def test_a_model_slower_than_a_turn_is_measured(clock):
    figures = measure({"huge": for_both(TimedDetector(clock, 2000, 1000))}, IMAGES)
    assert figures.loc["huge", "latency_ms"] == pytest.approx(2000)
    assert figures.loc["huge", "images_per_second"] == pytest.approx(1)


def test_the_first_round_and_the_first_call_of_a_turn_do_not_count(clock, monkeypatch):
    monkeypatch.setattr(runtime_speed, "ROUNDS", 1)
    monkeypatch.setattr(runtime_speed, "TURN_SECONDS", 0.005)  # one call of 6 ms
    milliseconds = iter([90, 80, 70, 6])

    def call(image):
        clock.now += next(milliseconds) / 1000

    figures = measure({"model": (FunctionDetector(call), TimedDetector(clock, 6))}, IMAGES)
    assert figures.loc["model", "latency_ms"] == pytest.approx(6)
    assert list(milliseconds) == []


def test_disturbed_rounds_do_not_change_the_latency(clock, monkeypatch):
    monkeypatch.setattr(runtime_speed, "ROUNDS", 5)
    timed = TimedDetector(clock, 10, 5)

    def call(image):  # the rounds after the first two streams are ten times as slow
        clock.now += 0.1 if timed.streams in (2, 3) else 0.01

    figures = measure({"model": (FunctionDetector(call), timed)}, IMAGES)
    assert figures.loc["model", "latency_ms"] == pytest.approx(10)


def test_a_real_clock_tells_slow_from_fast(monkeypatch):
    monkeypatch.setattr(runtime_speed, "ROUNDS", 2)
    monkeypatch.setattr(runtime_speed, "TURN_SECONDS", 0.05)
    models = {
        "slow": for_both(FunctionDetector(lambda image: sleep(0.05))),
        "fast": for_both(
            FunctionDetector(lambda image: sleep(0.0005), lambda images: map(np.sum, images))
        ),
    }
    figures = measure(models, IMAGES)
    assert figures.latency_ms["slow"] >= 50 > figures.latency_ms["fast"]
    assert figures.images_per_second["slow"] <= 20 < figures.images_per_second["fast"]


def test_measuring_needs_no_training_library():
    code = (
        "import sys, detmake.evaluation.speed, detmake.runtime.inference; "
        "assert 'torch' not in sys.modules"
    )
    library = Path(speed.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=library)
