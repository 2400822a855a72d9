"""Measure the templates on a dataset, and choose among them."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from detmake.data import subsets
from detmake.errors import InputError
from detmake.suggestion import choice, overhead
from detmake.suggestion.choice import Candidate, Work
from detmake.suggestion.dataset import Dataset
from detmake.suggestion.experiment import Suggestion
from detmake.suggestion.machine import Machine

log = logging.getLogger("detmake")

#: Images that inference and quantization are measured on.
_IMAGES = 16

#: From template, input size and batch size to what a training of it takes. Raises MemoryError if a
#: GPU has too little memory.
Measure = Callable[[str, tuple[int, int], int], Candidate]


def search(
    dataset: Dataset,
    machine: Machine,
    minutes: float,
    templates: Sequence[str],
    input_size: tuple[int, int] | None,
    calibration: int,
    measure: Measure,
    export: Callable[[], Path],
    validation_interval: Callable[[int], int],
    checked: float,
    threads: int,
) -> Suggestion:
    """Return an experiment whose build takes the minutes that are wished for.

    Args:
        dataset: the dataset.
        machine: this machine.
        minutes: of the whole build.
        templates: names of the templates to choose from.
        input_size: width and height in pixels, if the user chose it.
        calibration: images that post-training quantization reads, at most.
        measure: measures a template.
        export: exports what was measured last, and returns the model folder.
        validation_interval: from the iterations of an epoch to the epochs between validations.
        checked: seconds that it took to check the data.
        threads: CPU threads.

    Raises:
        InputError: no template can be trained on this dataset.
    """
    train, val = dataset.subsets["train"], dataset.subsets["val"]
    work = Work(
        train=len(train["images"]),
        val=len(val["images"]),
        test=len(dataset.test["images"]),
        calibration=min(len(train["images"]), calibration),
    )
    if input_size:
        sizes = [input_size]
    else:
        sizes = choice.suitable_sizes(dataset.boxes(), dataset.image_size())
    usual = machine.batch_size
    measured = _measure_all(partial(_within_memory, measure), templates, sizes[0], usual)
    wish = 60 * minutes
    template, size, has_time = choice.best(measured, sizes, choice.EPOCHS_SHARE * wish)
    tried = next(one for one in measured if one.template == template)
    batch_size = choice.batch_size(
        tried.batch_size, tried.memory, machine.training_memory, work.train
    )
    # Measured again, if only since other work on this machine comes and goes.
    chosen = _within_memory(measure, template, size, batch_size)
    rest = overhead.measure(
        export,
        subsets.some_images(val, _IMAGES),
        subsets.evenly_spread(subsets.image_paths(train), _IMAGES),
        chosen,
        work,
        checked,
        threads,
    )
    interval = validation_interval(work.iterations(chosen.batch_size))
    return Suggestion(
        dataset=dataset,
        machine=machine,
        minutes=minutes,
        chosen=chosen,
        has_time=has_time,
        measured=[*(one for one in measured if one is not tried or size != sizes[0]), chosen],
        work=work,
        overhead=rest,
        epochs=choice.epochs_in(wish - rest.total, chosen, work, interval),
        validation_interval=interval,
    )


def _within_memory(
    measure: Measure, template: str, size: tuple[int, int], batch_size: int
) -> Candidate:
    """Measure a template with the largest batch, up to a size, that the GPU has memory for."""
    while True:
        try:
            return measure(template, size, batch_size)
        except MemoryError as error:
            if batch_size == 1:
                raise InputError(
                    f"the GPU has too little memory for one image at {size[0]}×{size[1]}. Name a "
                    "smaller input_size on the command line"
                ) from error
            batch_size //= 2
            log.warning("%s: too little memory; trying batches of %d", template, batch_size)


def _measure_all(
    measure: Measure, templates: Sequence[str], size: tuple[int, int], batch_size: int
) -> list[Candidate]:
    """Measure the templates; leave out those that cannot be trained on the dataset."""
    measured, mistakes = [], []
    for template in templates:
        try:
            measured.append(measure(template, size, batch_size))
        except InputError as error:
            mistakes.append(f"{template}: {error}")
            log.warning("Left out, since its training fails: %s", mistakes[-1])
    if not measured:
        raise InputError("No template can be trained here:\n" + "\n".join(mistakes))
    return measured
