"""What the result of a training depends on, besides the dataset and pretrained weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LearningParameters:
    """How long and how fast a detector learns; `rules/schema.yaml` has the defaults.

    Attributes:
        batch_size: images per iteration, over all processes.
        learning_rate: learning rate after the warm-up.
        learning_rate_warmup_iters: iterations until the full learning rate, at most half of all.
        learning_rate_schedule: `plateau` or `cosine`, the course after the warm-up.
        learning_rate_patience: validations without improvement before `plateau` divides by 10.
        num_iters: epochs, at most.
        enable_early_stopping: whether to stop when the F-measure no longer improves.
        early_stop_patience: validations without improvement before training stops.
        use_adaptive_interval: validate less often if an epoch has few iterations; else every epoch.
        seed: seed of all random numbers.
    """

    batch_size: int
    learning_rate: float
    learning_rate_warmup_iters: int
    learning_rate_schedule: str
    learning_rate_patience: int
    num_iters: int
    enable_early_stopping: bool
    early_stop_patience: int
    use_adaptive_interval: bool
    seed: int

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "LearningParameters":
        """Read `learning_parameters` of a configuration; `num_workers` only affects speed."""
        return cls(**{key: value for key, value in params.items() if key != "num_workers"})


def code_of(params: Mapping[str, Any]) -> list[str]:
    """List the library modules that train, with their digests, among a rule's parameters."""
    return sorted(line for name, line in params.items() if name.startswith("compared detmake/"))


@dataclass(frozen=True)
class Recipe:
    """A model and how to train it.

    Attributes:
        model: MMDetection `model` dict of the template, to be completed by `model_config`.
        pipeline: MMDetection transforms that augment a training image.
        optimizer: MMEngine `optimizer` dict; a `lr` in it overrides the learning rate.
        input_size: width and height in pixels that an image is resized to.
        learning_parameters: how long and how fast to learn.
        channel_order: `rgb` or `bgr`, what pretrained weights expect; None: the model's own order.
        template_id: `id` of the template.
        template_name: display name of the template; the result does not depend on it.
        code: as `code_of` returns it.
    """

    model: Mapping[str, Any]
    pipeline: Sequence[Mapping[str, Any]]
    optimizer: Mapping[str, Any]
    input_size: Sequence[int]
    learning_parameters: LearningParameters
    channel_order: str | None
    template_id: str
    template_name: str
    code: Sequence[str]

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "Recipe":
        """Make a recipe of a rule's parameters, which may include others."""
        return cls(
            **{key: params[key] for key in ("model", "pipeline", "optimizer", "input_size")},
            learning_parameters=LearningParameters.from_params(params["learning_parameters"]),
            channel_order=params["channel_order"],
            template_id=params["id"],
            template_name=params["name"],
            code=code_of(params),
        )
