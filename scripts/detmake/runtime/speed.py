"""Speed of detectors on this machine: latency and throughput, measured in turns."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import cycle, islice
from statistics import median
from time import perf_counter

import numpy as np

from detmake.detections import Detector

#: Images that are measured with, at most, and the bytes from which on no more are read.
IMAGES, BYTES = 16, 1_000_000_000
#: Rounds that count. Other load on the machine comes and goes within seconds: with this many
#: rounds, the median stays the same even if almost half of them are disturbed.
ROUNDS = 8
#: Length of one model's turn for latency, and again for throughput. A turn holds some 20 images
#: of a detector that takes 15 ms; all rounds of a dozen models take about a minute.
TURN_SECONDS = 0.3


def hold(images: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Take images to measure with: the first ones, and fewer if they are large, but at least one.

    Args:
        images: each (H, W, 3) uint8, BGR.
    """
    held, size = [], 0
    for image in islice(images, IMAGES):
        held.append(image)
        size += image.nbytes
        if size >= BYTES:
            break
    return held


def measure(
    models: Mapping[str, tuple[Detector, Detector]],
    images: Sequence[np.ndarray],
    progress: Callable[[list[str]], Iterable[str]] = iter,
) -> dict[str, dict[str, float]]:
    """Measure latency and throughput of models that take turns, so that noise hits all alike.

    The first round warms up and does not count. Nor does the first call of each turn, since
    another model has filled the caches.

    Args:
        models: by name, two detectors of each model: one is called to measure latency, the other
            streams to measure throughput.
        images: at least one, each (H, W, 3) uint8, BGR; every model takes them in this order,
            again and again.
        progress: passes on the names of the models, one for each turn, and shows how far it is.

    Returns:
        By name, in the order given: `latency_ms` and `latency_p95_ms`, the median and the 95th
        percentile of one image at a time, and `images_per_second` of the stream, from its first
        image to its last result. Each is the median over the rounds.
    """
    supplies = {name: cycle(images) for name in models}
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in models}
    for name in progress([name for _ in range(1 + ROUNDS) for name in models]):
        rows[name].append(_turn(*models[name], supplies[name]))
    return {
        name: {key: median(row[key] for row in turns[1:]) for key in turns[0]}
        for name, turns in rows.items()
    }


def _turn(
    latency: Detector, throughput: Detector, images: Iterator[np.ndarray]
) -> dict[str, float]:
    latency(next(images))
    seconds = []
    for image in _for_a_turn(images):
        started = perf_counter()
        latency(image)
        seconds.append(perf_counter() - started)
    started = perf_counter()
    count = sum(1 for _ in throughput.stream(_for_a_turn(images)))
    return {
        "latency_ms": 1000 * median(seconds),
        "latency_p95_ms": 1000 * float(np.quantile(seconds, 0.95)),
        "images_per_second": count / (perf_counter() - started),
    }


def _for_a_turn(images: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield at least one image, and more until the turn is over."""
    end = perf_counter() + TURN_SECONDS
    for image in images:
        yield image
        if perf_counter() >= end:
            return
