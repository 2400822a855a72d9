"""Statistics of batch normalization that fit the weights which are validated and kept."""

import math

import torch
from mmengine.dist import all_reduce_params
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import _BatchNorm

from detmake.training.random_numbers import drawn_for

#: Train images whose statistics are averaged, if there are so many.
IMAGES = 64


class PreciseBatchNorm(Hook):
    """Computes the statistics of batch normalization anew before each validation.

    Running statistics follow the weights with a delay, and do not belong to the averaged ones at
    all. With a high learning rate, such a network finds little of what it has learned. Statistics
    of a few batches of the epoch, by the averaged weights, replace them (Wu and Johnson: Rethinking
    "Batch" in BatchNorm, arXiv 2105.07576). Frozen layers keep theirs.
    """

    priority = "BELOW_NORMAL"  # after EMAHook has put the averaged weights in place

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
            for batch in runner.train_loop.first_batches(math.ceil(IMAGES / runner.world_size)):
                model(model.data_preprocessor(batch, True)["inputs"])
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        statistics = [(layer.running_mean, layer.running_var) for layer in layers]
        all_reduce_params([one for both in statistics for one in both], op="mean")
