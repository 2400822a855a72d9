"""Choose template, input size, batch size and epochs by what was measured."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from detmake.data.statistics import SMALL, SMALLEST

#: Pixels of the shorter side of small boxes, at best and at least: two cells and one cell of the
#: finest feature map of most templates.
COMFORTABLE, LEAST = 2 * SMALL, SMALL
#: The longer side of an input, in pixels. A smaller one hides what tells classes apart, a larger
#: one is slow: tiles serve better.
SHORTEST, LONGEST = 320, 1024
#: Sides of an input are multiples of it.
STEP = 32
#: A class with fewer boxes tells little about their sizes.
ENOUGH_BOXES = 20
#: Images of all epochs together, below which a faster template or a smaller input is better. They
#: are 47 epochs of BCCD.
ENOUGH_IMAGES = 12_000
#: Where no template has time enough, those count whose iteration lasts up to so many times that of
#: the fastest: YOLOX-nano-ReLU, at 1.3, then learns more than YOLOX-nano.
NEARLY_FASTEST = 1.5
#: Share of a wish that its epochs get, until the other steps are measured.
EPOCHS_SHARE = 0.85
#: Templates by their F-measure there, the best first.
TEMPLATES = (
    "yolox_tiny",
    "yolox_nano_relu",
    "rtmdet_tiny",
    "atss_mobilenetv2",
    "ssd_mobilenetv2",
    "yolox_nano",
)
#: Epochs, at most: that many trained YOLOX on COCO (Ge et al., arXiv 2107.08430). More overfit.
MOST_EPOCHS = 300
#: Models that post-training quantization makes in most builds: one within the budget, and another
#: since images are too few to be sure of it.
QUANTIZED_MODELS = 2
#: The most frequent class is on so many times the images of the rarest one: `balance` pays then.
IMBALANCED = 10
#: The share of memory that a batch may take.
MEMORY_SHARE = 0.8


@dataclass(frozen=True)
class Work:
    """How much a build has to do.

    Attributes:
        train, val, test: numbers of images; `test` as evaluated.
        calibration: number of images that post-training quantization reads.
    """

    train: int
    val: int
    test: int
    calibration: int

    def iterations(self, batch_size: int) -> int:
        """Return the number of iterations in an epoch."""
        return math.ceil(self.train / batch_size)


@dataclass(frozen=True)
class Candidate:
    """A template at an input size, and what a training of it takes (`training.cost.Cost`).

    Attributes:
        template: its name.
        input_size: width and height in pixels.
        batch_size: images of an iteration.
        iteration, normalization, validated_image, checkpoint: seconds.
        memory: bytes of the batch size.
        has_weights: whether the template names published weights.
    """

    template: str
    input_size: tuple[int, int]
    batch_size: int
    iteration: float
    normalization: float
    validated_image: float
    checkpoint: float
    memory: int
    has_weights: bool = False

    def epoch(self, work: Work, validation_interval: int) -> float:
        """Return the seconds of an epoch, with its part of the validations."""
        validation = self.normalization + work.val * self.validated_image
        iterations = work.iterations(self.batch_size) * self.iteration
        return iterations + validation / validation_interval + self.checkpoint


@dataclass(frozen=True)
class Overhead:
    """What the build takes besides the epochs, in seconds.

    Attributes:
        start: starts of Snakemake and of Python, with its imports.
        data: checks of images and annotations.
        evaluation: of snapshot, IR and int8 model, and the last validation of training.
        export: of the IR.
        quantization: post-training quantization.
        quantized_model: one of the models that quantization makes and measures.
    """

    start: float
    data: float
    evaluation: float
    export: float
    quantization: float
    quantized_model: float

    @property
    def total(self) -> float:
        """The sum."""
        return self.start + self.data + self.evaluation + self.export + self.quantization


def _of_frequent_classes(boxes: pd.DataFrame) -> pd.DataFrame:
    """Return the boxes of classes that have enough of them; all boxes if no class has."""
    counts = boxes.groupby("class")["width"].transform("size")
    enough = boxes[counts >= ENOUGH_BOXES]
    return boxes if enough.empty else enough


def smallest_side(boxes: pd.DataFrame, input_size: Sequence[int]) -> float:
    """Return the shorter side, in pixels of the input, that 95 % of each class's boxes reach."""
    sides = (boxes[["width", "height"]] * np.array(input_size)).min(axis=1)
    return float(sides.groupby(boxes["class"]).quantile(SMALLEST).min())


def input_sizes(image_size: Sequence[int]) -> list[tuple[int, int]]:
    """Return the input sizes of about an image's ratio, the smallest first.

    None is larger than the image, apart from rounding up, unless the image is tiny.

    Args:
        image_size: width and height of a typical image, in pixels.
    """
    width, height = image_size
    longer = max(image_size)
    most = min(max(math.ceil(longer / STEP) * STEP, SHORTEST), LONGEST)
    sizes = []
    for side in range(SHORTEST, most + 1, STEP):
        scaled = [max(round(part * side / longer / STEP), 2) * STEP for part in (width, height)]
        sizes.append((scaled[0], scaled[1]))
    return sizes


def suitable_sizes(boxes: pd.DataFrame, image_size: Sequence[int]) -> list[tuple[int, int]]:
    """Return the input sizes to consider, the largest first.

    The largest is the smallest that shows small boxes with `COMFORTABLE` pixels, if any does. The
    smallest is that with `LEAST` pixels.

    Args:
        boxes: columns `class`, and `width` and `height` in parts of the image's.
        image_size: width and height of a typical image, in pixels.
    """
    boxes = _of_frequent_classes(boxes)
    sides: dict[tuple[int, int], float] = {}
    for size in input_sizes(image_size):
        sides[size] = smallest_side(boxes, size)
        if sides[size] >= COMFORTABLE:
            break
    largest_first = list(reversed(sides))
    return [size for size in largest_first if sides[size] >= LEAST] or largest_first[:1]


def batch_size(usual: int, memory_of_batch: int, memory: int, images: int) -> int:
    """Return the largest batch size, up to the usual one, that memory and images allow.

    Args:
        usual: the usual batch size, or a smaller one that was measured.
        memory_of_batch: bytes that it took.
        memory: bytes that there are.
        images: of the train subset.
    """
    size = usual
    while size > 1 and (size > images or memory_of_batch * size / usual > MEMORY_SHARE * memory):
        size //= 2
    return size


def epochs_in(seconds: float, candidate: Candidate, work: Work, validation_interval: int) -> int:
    """Return the number of epochs that fit into a time, at least one and at most `MOST_EPOCHS`."""
    fitting = int(seconds / candidate.epoch(work, validation_interval))
    return min(max(fitting, 1), MOST_EPOCHS)


def best(
    measured: Sequence[Candidate], sizes: Sequence[tuple[int, int]], seconds: float
) -> tuple[str, tuple[int, int], bool]:
    """Return the template and the input size to train in a time, and if it has time enough.

    It is the best template that has time for enough images, at the largest size at which it
    does; or else, at the smallest size, the best of the nearly fastest (`NEARLY_FASTEST`). An
    iteration is taken to last in proportion to the pixels of the input.

    Args:
        measured: a candidate of each template, at the first of the sizes.
        sizes: the input sizes to consider, the largest first.
        seconds: the time for the epochs.
    """
    width, height = sizes[0]
    ranks = {name: rank for rank, name in enumerate(TEMPLATES)}
    best_first = sorted(measured, key=lambda one: ranks.get(one.template, len(ranks)))
    for candidate in best_first:
        for size in sizes:
            iteration = candidate.iteration * size[0] * size[1] / (width * height)
            if candidate.batch_size * seconds / iteration >= ENOUGH_IMAGES:
                return candidate.template, size, True
    longest = NEARLY_FASTEST * min(candidate.iteration for candidate in measured)
    fast = next(candidate for candidate in best_first if candidate.iteration <= longest)
    return fast.template, sizes[-1], False


def suggest_tiling(boxes: pd.DataFrame, image_size: Sequence[int]) -> dict[str, Any] | None:
    """Return the settings of tiling if boxes ask for it, otherwise None.

    They do if, even at the largest input size, more than 5 % of the boxes of a class are narrower
    than a cell of the finest feature map.

    Args:
        boxes, image_size: as for `suitable_sizes`.
    """
    largest = input_sizes(image_size)[-1]
    if smallest_side(_of_frequent_classes(boxes), largest) >= LEAST:
        return None
    return {"size": "auto", "overlap": 0.2, "whole_image": True}
