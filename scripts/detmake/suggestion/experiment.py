"""Write a suggestion down: a configuration whose comments say why."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import yaml

from detmake.suggestion import choice
from detmake.suggestion.choice import Candidate, Overhead, Work
from detmake.suggestion.dataset import MOST_NEAR_DUPLICATES, Dataset
from detmake.suggestion.machine import Machine
from detmake.suggestion.split import SEEDS

_WIDTH = 96  # characters of a comment


@dataclass(frozen=True)
class Suggestion:
    """What is suggested, and what it follows from.

    Attributes:
        dataset: the dataset.
        machine: the machine.
        minutes: the wish: minutes of the whole build.
        chosen: template, input size and batch size.
        has_time: whether it has time for enough images, so that it is no makeshift.
        measured: all that was measured.
        work: what there is to do.
        overhead: what the build takes besides the epochs.
        epochs: number of epochs.
        validation_interval: epochs between validations.
    """

    dataset: Dataset
    machine: Machine
    minutes: float
    chosen: Candidate
    has_time: bool
    measured: Sequence[Candidate]
    work: Work
    overhead: Overhead
    epochs: int
    validation_interval: int

    @property
    def training_seconds(self) -> float:
        """Expected seconds of the epochs."""
        return self.epochs * self.chosen.epoch(self.work, self.validation_interval)

    @property
    def seconds(self) -> float:
        """Expected seconds of the whole build."""
        return self.training_seconds + self.overhead.total

    def max_models(self) -> int:
        """Return how many int8 models keep the build within 1.25 times the expected time.

        At least four, since a build fails if no model is within its budget of accuracy.
        """
        further = int(0.25 * self.seconds / self.overhead.quantized_model)
        return min(max(choice.QUANTIZED_MODELS + further, 4), 16)


def text(suggestion: Suggestion, copied: Mapping[str, Any]) -> str:
    """Return the configuration as commented YAML.

    Args:
        suggestion: what is suggested.
        copied: further keys of the configuration, which the user gave on the command line, or in
            the experiment that was there.
    """
    parts = [
        _comment(_summary(suggestion)),
        _comment(_template(suggestion)) + f"\n{_yaml({'template': suggestion.chosen.template})}",
        _comment(_data(suggestion)) + f"\n{_yaml({'data': suggestion.dataset.data})}",
        _comment(_input_size(suggestion))
        + f"\n{_yaml({'input_size': list(suggestion.chosen.input_size)})}",
        _tiling(suggestion),
        _comment(_weights(suggestion)) + "\npretrained: null",
        _learning(suggestion),
        _quantization(suggestion, copied),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _comment(paragraph: str | Sequence[str]) -> str:
    """Return lines that begin with '#'; each paragraph is wrapped, and a table is not."""
    lines: list[str] = []
    for line in [paragraph] if isinstance(paragraph, str) else paragraph:
        lines += [line] if line.startswith(" ") else textwrap.wrap(line, _WIDTH)
    return "\n".join(f"# {line}".rstrip() for line in lines)


def _yaml(mapping: Mapping[str, Any]) -> str:
    """Return keys on lines of their own, and those of sections, too; other values are inline."""
    lines = []
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            lines += [f"{key}:", textwrap.indent(_yaml_inline(value), "  ")]
        else:
            lines.append(_yaml_inline({key: value}))
    return "\n".join(lines)


def _yaml_inline(mapping: Mapping[str, Any]) -> str:
    options = {"default_flow_style": True, "allow_unicode": True, "sort_keys": False}
    values = {
        key: yaml.safe_dump(value, width=10**6, **options).removesuffix("...\n").strip()
        for key, value in mapping.items()
    }
    return "\n".join(f"{key}: {value}" for key, value in values.items())


def _summary(suggestion: Suggestion) -> list[str]:
    machine, overhead = suggestion.machine, suggestion.overhead
    where = f"{machine.gpu} and {machine.cpu}" if machine.gpu else machine.cpu
    parts = {
        "training": suggestion.training_seconds,
        "starts of programs": overhead.start,
        "checking the data": overhead.data,
        "export and evaluation": overhead.export + overhead.evaluation,
        "post-training quantization": overhead.quantization,
    }
    times = ", ".join(f"{name} {seconds / 60:.1f}" for name, seconds in parts.items())
    lines = [
        f"Suggested by `snakemake suggest` for {suggestion.minutes:g} minutes on {where}, with "
        f"{machine.memory / 2**30:.0f} GiB of memory.",
        f"Expected time of the whole build: {suggestion.seconds / 60:.1f} minutes ({times}).",
    ]
    if suggestion.seconds > 1.1 * 60 * suggestion.minutes:
        lines.append(
            "One epoch does not fit into the time that you wished for. Such a model finds little; "
            "wish for more minutes."
        )
    lines.append("config/README.md of detmake describes every key.")
    return lines


def _weights(suggestion: Suggestion) -> str:
    if suggestion.chosen.has_weights:
        return (
            "From scratch. Delete this line to start from published weights, which are "
            "downloaded; with them, fewer epochs are enough."
        )
    return "From scratch: there are no published weights of this template."


def _template(suggestion: Suggestion) -> list[str]:
    order = ", ".join(choice.TEMPLATES)
    if suggestion.has_time:
        why = f"This is the best that has time for {choice.ENOUGH_IMAGES:,} images in all epochs."
    else:
        why = (
            f"None has time for {choice.ENOUGH_IMAGES:,} images in all epochs; this is the best of "
            "those nearly as fast as the fastest. More minutes give a better model."
        )
    width = max(len(one.template) for one in suggestion.measured)
    table = [
        f"  {one.template:{width}}  {one.input_size[0]}×{one.input_size[1]}  "
        f"{one.iteration:.2f} s an iteration of {one.batch_size}"
        for one in suggestion.measured
    ]
    return [
        f"From scratch on BCCD, F-measures rank the templates so: {order}. {why} "
        "Measured here, with the images of a batch:",
        *table,
    ]


def _data(suggestion: Suggestion) -> list[str]:
    dataset = suggestion.dataset
    counts = ", ".join(f"{len(coco['images'])} {name}" for name, coco in dataset.subsets.items())
    lines = [
        f"Images: {counts}. Boxes of train: "
        + ", ".join(
            f"{name} {count}" for name, count in dataset.boxes()["class"].value_counts().items()
        )
        + "."
    ]
    if isinstance(dataset.data, Mapping) and "split" in dataset.data:
        split = "The split takes subsets that are missing from the train images."
        if dataset.has_best_seed:
            split += (
                f" Of {SEEDS} seeds, this one gives them the most even shares of images and "
                "classes."
            )
        if not (dataset.data.get("group") or dataset.data.get("groups")):
            split += (
                " If images come from videos, scenes or patients, add `group`, so that those of "
                "one stay together."
            )
        lines.append(split)
    share = f"{100 * dataset.near_duplicates:.0f} % of these images look nearly like another one"
    if dataset.groups:
        lines.append(f"{share}. The file of groups keeps them in one subset.")
    elif dataset.near_duplicates > MOST_NEAR_DUPLICATES:
        lines.append(f"{share}. `snakemake inspect` lists them.")
    if "test" not in dataset.subsets:
        lines.append("There is no test subset: val serves as test.")
    return lines


def _input_size(suggestion: Suggestion) -> str:
    width, height = suggestion.dataset.image_size()
    boxes, size = suggestion.dataset.boxes(), suggestion.chosen.input_size
    side = choice.smallest_side(boxes, size)
    return (
        f"Width and height of the network's input. Images are {width}×{height} (median). Here, "
        f"95 % of each class's boxes have a shorter side of at least {side:.0f} pixels; "
        f"{choice.COMFORTABLE} are two cells of the finest feature map of most templates, and "
        f"boxes below {choice.LEAST} are narrower than one. A larger input takes longer."
    )


def _tiling(suggestion: Suggestion) -> str:
    """Return the key as a comment, since tiles do not always pay; nothing without small boxes."""
    dataset = suggestion.dataset
    settings = choice.suggest_tiling(dataset.boxes(), dataset.image_size())
    if settings is None:
        return ""
    why = (
        f"More than 5 % of the boxes of a class are narrower than {choice.LEAST} pixels even at "
        "the largest input size. Tiles show them larger, but the build then takes longer than "
        "announced. Compare a run with tiles and one without (docs/data.md of detmake):"
    )
    flow = yaml.safe_dump(settings, default_flow_style=True, sort_keys=False).strip()
    return _comment([why, f"  tiling: {flow}"])


def _learning(suggestion: Suggestion) -> str:
    chosen, work = suggestion.chosen, suggestion.work
    iterations = work.iterations(chosen.batch_size)
    memory = suggestion.machine.training_memory
    many = suggestion.epochs == choice.MOST_EPOCHS
    interval = suggestion.validation_interval
    epochs = (
        f"Iterations of each epoch: {iterations}, of {chosen.iteration:.2f} s each. A validation "
        f"follows {f'every {interval} epochs' if interval > 1 else 'each epoch'}. All epochs take "
        f"{suggestion.training_seconds / 60:.1f} minutes."
    )
    if many:
        epochs += " More epochs would overfit, so the build takes less time than you wished for."
    lines = [
        "learning_parameters:",
        f"  # It takes {chosen.memory / 2**30:.1f} of {memory / 2**30:.0f} GiB of memory.",
        f"  batch_size: {chosen.batch_size}",
        *(f"  # {line}" for line in textwrap.wrap(epochs, _WIDTH - 2)),
        f"  epochs: {suggestion.epochs}",
        "  # The learning rate falls until the last epoch, so training does not stop early.",
        "  learning_rate_schedule: cosine",
        "  enable_early_stopping: false",
        *_balance(suggestion.dataset.images_of_classes()),
    ]
    return "\n".join(lines)


def _balance(images: pd.Series) -> list[str]:
    """Return the lines of the key `balance`: none unless a class is much rarer than another."""
    images = images[images > 0]  # what is on no image cannot be taken more often
    rarest, commonest = images.idxmin(), images.idxmax()
    if choice.IMBALANCED * images[rarest] > images[commonest]:
        return []
    why = (
        f"Training takes images of rare classes more often: {commonest} is on "
        f"{images[commonest]} images, {rarest} on {images[rarest]}."
    )
    return [*(f"  # {line}" for line in textwrap.wrap(why, _WIDTH - 2)), "  balance: repeat"]


def _quantization(suggestion: Suggestion, copied: Mapping[str, Any]) -> str:
    """Return the limit of int8 models, and the keys that the user gave."""
    seconds = suggestion.overhead.quantized_model
    settings = {"max_models": suggestion.max_models()} | copied.get("pot_parameters", {})
    why = (
        f"Most builds make {choice.QUANTIZED_MODELS} int8 models, which take {seconds:.0f} s each. "
        f"If they lose too much accuracy, up to {settings['max_models']} are tried, and the build "
        "takes longer."
    )
    text = f"{_comment(why)}\n{_yaml({'pot_parameters': settings})}"
    others = {key: value for key, value in copied.items() if key != "pot_parameters"}
    whence = _comment("Given on the command line, or in the experiment that was there.")
    return f"{text}\n\n{whence}\n{_yaml(others)}" if others else text
