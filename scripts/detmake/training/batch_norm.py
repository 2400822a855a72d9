"""Statistics of batch normalization that fit the weights which are validated and kept."""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import all_reduce_params
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from detmake.training.random_numbers import drawn_for

#: Train images, in whole batches, whose statistics are averaged, if there are so many.
IMAGES = 64


class PreciseBatchNorm(Hook):
    """Computes the statistics of batch normalization anew before each validation.

    Running statistics follow the weights with a delay, and do not belong to the averaged ones at
    all. With a high learning rate, such a network finds little of what it has learned. Statistics
    of the epoch's first batches, by the averaged weights, replace them (Wu and Johnson: Rethinking
    "Batch" in BatchNorm, arXiv 2105.07576). Frozen layers keep theirs.
    """

    priority = "BELOW_NORMAL"  # after EMAHook has put the averaged weights in place

    def __init__(self) -> None:
        self._batches: list[list[Tensor]] = []

    def before_train_epoch(self, runner: Runner) -> None:
        """Forget the batches of the epoch before."""
        self._batches = []

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Mapping[str, Any]
    ) -> None:
        """Keep the images of the first batches."""
        if sum(map(len, self._batches)) * runner.world_size < IMAGES:
            # Not in the shared memory that processes which load images have little of.
            self._batches.append([image.clone() for image in data_batch["inputs"]])

    def before_val_epoch(self, runner: Runner) -> None:
        """Replace the statistics of the layers that are trained."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        layers = [
            layer
            for layer in model.modules()
            if isinstance(layer, _BatchNorm) and layer.training and layer.track_running_stats
        ]
        if not layers:
            return
        momenta = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # the mean of all batches
        with (
            drawn_for("batch normalization", runner.seed, runner.rank, runner.epoch),
            torch.no_grad(),
            runner.optim_wrapper.optim_context(model),
        ):
            for images in self._batches:
                batch = {"inputs": images, "data_samples": None}
                model(model.data_preprocessor(batch)["inputs"])
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        statistics = [(layer.running_mean, layer.running_var) for layer in layers]
        all_reduce_params([one for both in statistics for one in both], op="mean")
