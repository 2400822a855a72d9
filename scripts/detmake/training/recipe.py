"""What the result of a training depends on, besides the dataset and pretrained weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self


@dataclass(frozen=True)
class LearningParameters:
    """The schedule of a training; `rules/schema.yaml` has the defaults.

    Attributes:
        batch_size: images per iteration, over all processes.
        learning_rate: learning rate after the warm-up.
        learning_rate_warmup_iters: iterations until the full learning rate, at most half of all.
        learning_rate_schedule: `plateau` or `cosine`, the curve after the warm-up.
        learning_rate_patience: validations without improvement before `plateau` divides by 10.
        num_iters: epochs, at most.
        enable_early_stopping: whether to stop when the F-measure no longer improves.
        early_stop_patience: validations without improvement before training stops.
        use_adaptive_interval: validate less often if an epoch has few iterations; else every epoch.
        seed: seed of all random numbers.
        balance: `none`, or `repeat` to take images of rare classes more often.
        augmentation: `none`, `light` or `strong`, how far images are changed at random
            (`training.augmented_dataset.transforms`).
        stop_after: end with the first validation after so many epochs, on the way to `num_iters`;
            None goes all the way.
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
    balance: str = "none"
    augmentation: str = "light"
    stop_after: int | None = None

    @property
    def strong_epochs(self) -> int:
        """First epochs, in which images change strongly: all but the last fifth, or none.

        YOLOX ends with 15 of 300 light epochs, RTMDet with 20. The averaged weights span a larger
        part of a short training.
        """
        return self.num_iters - self.num_iters // 5 if self.augmentation == "strong" else 0


@dataclass(frozen=True)
class BaseRecipe:
    """How to train any network.

    Attributes:
        pipeline: MMDetection transforms that augment a training image: the template's.
        optimizer: MMEngine `optimizer` dict; a `lr` in it overrides the learning rate.
        learning_parameters: how long and how fast to learn.
        code: the script and the library modules that train, with their digests, and the packages
            that they compute with, with their versions.
    """

    pipeline: Sequence[Mapping[str, Any]]
    optimizer: Mapping[str, Any]
    learning_parameters: LearningParameters
    code: Sequence[str]

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """Make a recipe of a rule's parameters, which may include others."""
        learning = dict(params["learning_parameters"])
        learning.pop("num_workers", None)  # only affects speed
        params = {**params, "learning_parameters": LearningParameters(**learning)}
        return cls(**{field.name: params[field.name] for field in fields(cls)})

    def course(self) -> Self:
        """Return the recipe with only what the weights after an epoch depend on.

        Trainings of the same course can go on from each other's checkpoints. Where one stops does
        not change how it gets there.
        """
        parameters = replace(self.learning_parameters, stop_after=None)
        return replace(self, learning_parameters=parameters)


@dataclass(frozen=True)
class Recipe(BaseRecipe):
    """A model and how to train it.

    Attributes:
        model: MMDetection `model` dict of the template, to be completed by `model_config`.
        input_size: width and height in pixels that an image is resized to.
        channel_order: `rgb` or `bgr`, what pretrained weights expect; None: the model's own order.
        id: `id` of the template.
        name: display name of the template; the result does not depend on it.
    """

    model: Mapping[str, Any]
    input_size: Sequence[int]
    channel_order: str | None
    id: str
    name: str
