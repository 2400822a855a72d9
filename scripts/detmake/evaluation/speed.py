"""Speed of detectors on this machine: latency and throughput, all measured in turns."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from statistics import median
from time import perf_counter

import numpy as np
import pandas as pd
from tqdm import tqdm

from detmake.detections import Detector

#: Rounds that count. What else runs on the machine comes and goes within seconds: with as many
#: rounds, half of them disturbed still leave the median alone.
ROUNDS = 8
#: Length of one model's turn for latency, and again for throughput. It holds some 20 images of a
#: detector that takes 15 ms, and keeps a dozen of models with all rounds to about a minute.
TURN_SECONDS = 0.3


def measure(
    models: Mapping[str, tuple[Detector, Detector]], images: Sequence[np.ndarray]
) -> pd.DataFrame:
    """Latency and throughput of models that take turns, so that noise hits all of them alike.

    The first round warms up and does not count, nor does the first call of each turn, which finds
    the caches filled by another model.

    Args:
        models: by name, each model as two detectors: one is called for latency, the other streams
            for throughput.
        images: at least one, each (H, W, 3) uint8, BGR; every model takes them in this order,
            again and again.

    Returns:
        Indexed by `model`, in the order given: `latency_ms` and `latency_p95_ms`, the median and
        the 95th percentile of one image when it is alone, and `images_per_second`, of many images,
        from the first one given to the last result. Each is the median over the rounds.
    """
    supplies = {name: cycle(images) for name in models}
    turns = [name for _ in range(1 + ROUNDS) for name in models]
    rows = [
        {"model": name, **_turn(*models[name], supplies[name])}
        for name in tqdm(turns, desc="speed", unit="turn", mininterval=2)
    ]
    return pd.DataFrame(rows[len(models) :]).groupby("model", sort=False).median()


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
    """At least one image, and more until the time of a turn is over."""
    end = perf_counter() + TURN_SECONDS
    for image in images:
        yield image
        if perf_counter() >= end:
            return
