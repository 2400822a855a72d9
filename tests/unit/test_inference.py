"""A detector finds the same in a stream of images as in single images."""

import gc
import os
import subprocess
import sys
import weakref
from itertools import count, islice
from pathlib import Path

import known_model
import numpy as np
import pytest

from detmake.errors import InputError
from detmake.runtime import inference, openvino_core
from detmake.runtime.inference import OpenvinoDetector

SCRIPTS = Path(__file__).parents[2] / "scripts"
HINTS = pytest.mark.parametrize("hint", ["LATENCY", "THROUGHPUT"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return known_model.write(tmp_path_factory.mktemp("model"))


def plain(value, width=40, height=20):
    """An image of one colour, whose detections are known."""
    return np.full((height, width, 3), [value, value // 2, 255 - value], dtype=np.uint8)


def first_scores(stream):
    """The values of plain images, computed from their detections."""
    return [round(float(found.scores[0]) * 255) for found in stream]


class PlainImages:
    """Plain images 0, 1, 2 … without end; it knows how many were taken and how many still exist."""

    def __init__(self):
        self.references = []

    def __iter__(self):
        for value in count():
            image = plain(value % 256)
            self.references.append(weakref.ref(image))
            yield image

    def alive(self):
        gc.collect()
        return sum(reference() is not None for reference in self.references)


#: Two models are compiled, by detmake and as NNCF does it, and the older one is released first.
RELEASED = """
import gc, signal, sys, time
from pathlib import Path
from detmake.quantization import recipes  # loads NNCF
from detmake.runtime.inference import OpenvinoDetector
import openvino as ov
folder = Path(sys.argv[1])
first = OpenvinoDetector(folder)
second = ov.Core().compile_model(folder / "openvino.xml", "CPU")
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGALRM, lambda *_: print("handled"))
signal.setitimer(signal.ITIMER_REAL, 0.1)
time.sleep(0.5)
"""


def test_a_signal_after_models_are_released_does_not_crash(folder):
    """OpenVINO leaves a stack for signal handlers that is gone, if a process has two cores."""
    command = [sys.executable, "-c", RELEASED, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert (run.returncode, run.stdout) == (0, "handled\n")


@HINTS
def test_detections_of_a_plain_image_equal_those_by_hand(folder, hint):
    detector = OpenvinoDetector(folder, performance_hint=hint)
    image = plain(102, width=40, height=20)
    for found in [detector(image), *detector.stream([image])]:
        np.testing.assert_allclose(
            found.boxes, [[0, 0, 20, 20], [10, 10, 30, 20], [0, 0, 40, 20]], rtol=1e-6
        )
        np.testing.assert_allclose(found.scores, [0.4, 0.2, 0.6], rtol=1e-6)
        np.testing.assert_array_equal(found.labels, [2, 0, 1])


@HINTS
@pytest.mark.parametrize("threads", [1, 2, None])
def test_a_stream_yields_in_order_what_single_calls_return(folder, hint, threads):
    """A large image takes longer than the small ones after it."""
    rng = np.random.default_rng(0)
    sizes = [(1500, 2000), (8, 8), (30, 7), (9, 50)] * 6
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    detector = OpenvinoDetector(folder, threads, hint)
    stream = detector.stream(images)
    for image, found in zip(images, stream, strict=True):
        expected = detector(image)
        np.testing.assert_array_equal(found.boxes, expected.boxes)
        np.testing.assert_array_equal(found.scores, expected.scores)
        np.testing.assert_array_equal(found.labels, expected.labels)


@HINTS
def test_a_large_image_of_a_stream_runs_alone(folder, hint, monkeypatch):
    """It is gone when the next image is read, and the model gives back the memory it needed."""
    monkeypatch.setattr(inference, "LARGE", 3 * 40 * 20)

    def images():
        for number, width in enumerate([40, 40, 41, 41, 40, 41]):
            image = plain(number, width)
            reference = weakref.ref(image)
            yield image
            del image
            gc.collect()
            assert width == 40 or reference() is None

    released, detector = [], OpenvinoDetector(folder, 2, hint)
    release = detector._model.release_memory
    monkeypatch.setattr(detector._model, "release_memory", lambda: released.append(release()))
    assert first_scores(detector.stream(images())) == list(range(6))
    assert len(released) == 3


@HINTS
def test_a_stream_may_be_empty_or_short(folder, hint):
    detector = OpenvinoDetector(folder, performance_hint=hint)
    assert list(detector.stream([])) == []
    assert first_scores(detector.stream([plain(7)])) == [7]


@HINTS
def test_an_endless_stream_holds_few_images(folder, hint):
    images = PlainImages()
    stream = OpenvinoDetector(folder, 2, hint).stream(images)
    assert first_scores(islice(stream, 1)) == [0]
    assert len(images.references) > 1  # the next is processed while the caller uses the result
    assert first_scores(islice(stream, 199)) == list(range(1, 200))
    assert len(images.references) < 220
    assert images.alive() <= 2
    stream.close()
    assert images.alive() == 0


@pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="one CPU processes one image at a time"
)
def test_throughput_processes_more_images_at_a_time_than_latency(folder):
    taken = {}
    for hint in ("LATENCY", "THROUGHPUT"):
        images = PlainImages()
        assert first_scores(islice(OpenvinoDetector(folder, 2, hint).stream(images), 1)) == [0]
        taken[hint] = len(images.references)
    assert taken["THROUGHPUT"] > taken["LATENCY"]


def test_images_may_share_one_array(folder):
    def frames():
        frame = plain(0, 1500, 1000)
        for value in range(20):
            frame[:] = value
            yield frame
            frame[:] = 255

    stream = OpenvinoDetector(folder, 2, "THROUGHPUT").stream(frames())
    assert first_scores(stream) == list(range(20))


@HINTS
@pytest.mark.parametrize("after", ["read-only", "mirrored", "stream"])
def test_the_next_image_does_not_overwrite_an_image(folder, hint, after):
    detector = OpenvinoDetector(folder, 1, hint)
    image, other = plain(1), plain(2)
    assert first_scores([detector(image)]) == [1]
    if after == "stream":
        assert first_scores(detector.stream([other, other])) == [2, 2]
    else:
        other.flags.writeable = after != "read-only"
        other = other[:, ::-1] if after == "mirrored" else other
        assert first_scores([detector(other)]) == [2]
    np.testing.assert_array_equal(image, plain(1))


def test_later_results_do_not_overwrite_earlier_ones(folder):
    stream = OpenvinoDetector(folder, 2, "THROUGHPUT").stream(plain(value) for value in range(50))
    assert first_scores(list(stream)) == list(range(50))


@HINTS
@pytest.mark.parametrize("good", [0, 1, 30])
def test_an_exception_of_the_image_source_is_raised(folder, hint, good):
    def images():
        for value in range(good):
            yield plain(value)
        raise OSError("the video ends here")

    detector = OpenvinoDetector(folder, 2, hint)
    found = []
    with pytest.raises(OSError, match="the video ends here"):
        found.extend(detector.stream(images()))
    assert first_scores(found) == list(range(len(found)))
    assert len(found) >= good - 10
    assert first_scores(detector.stream([plain(5)])) == [5]


def test_two_streams_of_one_detector_do_not_mix(folder):
    detector = OpenvinoDetector(folder, 2, "THROUGHPUT")
    up = detector.stream(plain(value) for value in range(100))
    down = detector.stream(plain(value) for value in range(99, -1, -1))
    pairs = list(zip(up, down, strict=True))
    assert first_scores(first for first, _ in pairs) == list(range(100))
    assert first_scores(second for _, second in pairs) == list(range(99, -1, -1))


# Devices


def test_auto_finds_what_the_cpu_finds_and_names_it(folder):
    image = plain(102)
    detectors = [OpenvinoDetector(folder, 1, device=device) for device in ("CPU", "AUTO")]
    cpu, auto = (detector(image) for detector in detectors)
    np.testing.assert_array_equal(cpu.boxes, auto.boxes)
    np.testing.assert_array_equal(cpu.scores, auto.scores)
    assert [detector.device for detector in detectors] == ["CPU", "CPU"]


def test_a_device_that_this_machine_lacks_is_refused(folder):
    with pytest.raises(InputError, match="device: found NPU, but OpenVINO finds only CPU"):
        OpenvinoDetector(folder, device="NPU")


def test_a_device_that_cannot_run_the_model_is_named(folder, monkeypatch):
    """As an NPU, which takes no input of any size."""

    class Core(openvino_core.Core):
        available_devices = ("CPU", "NPU")

        def compile_model(self, *arguments):
            raise RuntimeError("dynamic shapes are not supported")

    monkeypatch.setattr(openvino_core, "core", Core)
    with pytest.raises(InputError, match=r"NPU, which cannot run this model[^!]*dynamic shapes"):
        OpenvinoDetector(folder, device="NPU")


@pytest.mark.parametrize("content", ["{}", "[]", "{", '{"labels": [], "confidence_threshold": []}'])
def test_a_strangers_model_folder_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match="found none that loads"):
        OpenvinoDetector(tmp_path)


def test_a_tiling_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="found none that loads"):
        OpenvinoDetector(known_model.write(tmp_path, tiling={"size": 3, "depth": 1}))
