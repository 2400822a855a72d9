"""Speed of a run's models on images of a prepared subset."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from detmake.data import subsets
from detmake.detections import Detector
from detmake.runtime import speed
from detmake.runtime.images import read_image
from detmake.runtime.inference import device_name


def choose_images(subset: Path) -> list[Path]:
    """Return the image files of a prepared subset to measure with, evenly spread over it."""
    return subsets.evenly_spread(subsets.image_paths(subsets.read(subset)), speed.IMAGES)


def read_images(files: Iterable[Path]) -> list[np.ndarray]:
    """Read images to measure with, (H, W, 3) uint8, BGR: the first ones if they are large."""
    return speed.hold(map(read_image, files))


def machine_name(threads: int, device: str = "CPU") -> str:
    """Describe for readers what measures: OpenVINO's device, and the number of CPU threads."""
    return f"{device_name(device)}, {threads} threads"


def measure(
    models: Mapping[str, tuple[Detector, Detector]], images: Sequence[np.ndarray]
) -> pd.DataFrame:
    """Return what `runtime.speed.measure` finds, with a progress bar: a row for each `model`."""
    bar = partial(tqdm, desc="speed", unit="turn", mininterval=2)
    figures = speed.measure(models, images, bar)
    return pd.DataFrame.from_dict(figures, orient="index").rename_axis("model")
