"""What a training costs on this machine, measured on a few iterations of it."""

import logging
import math
import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from detmake.artifacts import write_json
from detmake.data import subsets
from detmake.errors import InputError
from detmake.model import device
from detmake.model.snapshot import Snapshot
from detmake.training.batch_norm import IMAGES
from detmake.training.recipe import Recipe
from detmake.training.runner import fit
from detmake.training.schedule import build_schedule
from detmake.training.train import new_detector

log = logging.getLogger("detmake")

#: Iterations that count, at least.
ITERATIONS = 6
#: Batches of images that are taken of the train subset.
BATCHES = 3
#: Images of the validation subset that are taken.
VALIDATED = 16


@dataclass(frozen=True)
class Cost:
    """What a training takes on the device in use.

    Attributes:
        iteration: seconds of an iteration, with loading and augmentation of its images.
        normalization: seconds of `PreciseBatchNorm`, before each validation.
        validated_image: seconds of validating on one image.
        checkpoint: seconds of saving a checkpoint.
        memory: bytes that torch held on the GPU or, without one, that this process held at most
            during the measurement (on other systems than Linux, since it started).
    """

    iteration: float
    normalization: float
    validated_image: float
    checkpoint: float
    memory: int


def measure(recipe: Recipe, train_file: Path, val_file: Path) -> tuple[Cost, Snapshot]:
    """Train for a few iterations, validate on a few images, and measure what each took.

    The first epoch of these few images warms up; the others count.

    Args:
        recipe: what to train; its epochs do not matter.
        train_file: prepared annotations of the train subset (`detmake.data.checking`).
        val_file: prepared annotations of the validation subset.

    Returns:
        The cost, and a snapshot of the barely trained network.

    Raises:
        InputError: as for `detmake.training.train.train`.
        MemoryError: the GPU has too little memory for a batch.
    """
    learning = recipe.learning_parameters
    coco = subsets.read(train_file)
    parts = {
        "train.json": subsets.some_images(coco, BATCHES * learning.batch_size),
        "val.json": subsets.some_images(subsets.read(val_file), VALIDATED),
    }
    counts = [len(part["images"]) for part in parts.values()]
    stopwatch, level = _Stopwatch(), log.level
    log.setLevel(logging.WARNING)
    try:
        with TemporaryDirectory() as folder:
            files = [Path(folder, name) for name in parts]
            for file in files:
                write_json(file, parts[file.name])
            iterations = math.ceil(counts[0] / learning.batch_size)
            epochs = 1 + math.ceil(ITERATIONS / iterations)
            learning = replace(learning, num_iters=epochs, use_adaptive_interval=False)
            recipe = replace(recipe, learning_parameters=learning)
            schedule = build_schedule(recipe, counts[0])
            schedule["custom_hooks"].append(stopwatch)
            config, detector = new_detector(recipe, coco)
            if device.name() == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            else:
                _reset_peak_memory()
            checkpoints = Path(folder, "checkpoints")
            checkpoints.mkdir()
            fit(detector, recipe, recipe.input_size, schedule, *files, checkpoints, "auto")
    except (torch.OutOfMemoryError, InputError) as error:
        if isinstance(error.__cause__ or error, torch.OutOfMemoryError):
            raise MemoryError(str(error)) from error
        raise
    finally:
        log.setLevel(level)
    if device.name() == "cuda":
        memory = torch.cuda.max_memory_reserved()
    else:
        memory = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    batches = math.ceil(IMAGES / learning.batch_size)
    cost = Cost(
        iteration=median(stopwatch.iterations[iterations:]),
        normalization=median(stopwatch.normalizations[1:])
        * min(batches, math.ceil(len(coco["images"]) / learning.batch_size))
        / min(batches, iterations),
        validated_image=median(stopwatch.validations[1:]) / counts[1],
        checkpoint=median(stopwatch.checkpoints),
        memory=memory,
    )
    snapshot = Snapshot(
        model=config,
        labels=subsets.class_names(coco),
        input_size=list(recipe.input_size),
        confidence_threshold=0.5,
        template={"id": recipe.id, "name": recipe.name},
        state_dict={name: value.cpu() for name, value in detector.state_dict().items()},
    )
    return cost, snapshot


def _reset_peak_memory() -> None:
    """Let the peak of this process's memory count from now (proc(5)), if the system can do that."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        log.debug("The peak of memory counts from the start of the process: %s", error)


class _Stopwatch(Hook):
    """Takes the time between the events of a training.

    Attributes:
        iterations: seconds of each iteration, from the end of the one before.
        normalizations: seconds from the last iteration to each validation: of `PreciseBatchNorm`.
        validations: seconds of each validation.
        checkpoints: seconds from the end of a validation to the next epoch: of saving.
    """

    priority = "LOWEST"

    def __init__(self) -> None:
        self.iterations: list[float] = []
        self.normalizations: list[float] = []
        self.validations: list[float] = []
        self.checkpoints: list[float] = []
        self._last = math.nan

    def before_train_epoch(self, runner: Runner) -> None:
        """Start with the first iteration."""
        if runner.epoch:
            self.checkpoints.append(self._lap())
        else:
            self._lap()

    def after_train_iter(self, runner: Runner, *_: object, **__: object) -> None:
        """End an iteration."""
        self.iterations.append(self._lap())

    def before_val_epoch(self, runner: Runner) -> None:
        """Start a validation."""
        self.normalizations.append(self._lap())

    def after_val_epoch(self, runner: Runner, *_: object, **__: object) -> None:
        """End a validation."""
        self.validations.append(self._lap())

    def _lap(self) -> float:
        """Return the seconds since the last call, when the GPU has done what it was given."""
        if device.name() == "cuda":
            torch.cuda.synchronize()
        before, self._last = self._last, time.perf_counter()
        return self._last - before
