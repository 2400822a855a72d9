"""How long and how fast to learn: MMEngine's loops, schedulers, hooks and optimizer wrapper."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from mmengine.hooks import EarlyStoppingHook, Hook
from mmengine.optim import (
    AmpOptimWrapper,
    DefaultOptimWrapperConstructor,
    OptimWrapper,
    ReduceOnPlateauLR,
)
from mmengine.runner import Runner
from torch import Tensor, nn

from detmake.model import device
from detmake.training.batch_norm import PreciseBatchNorm
from detmake.training.divergence import StopIfDiverged
from detmake.training.loop import TrainLoop
from detmake.training.recipe import BaseRecipe
from detmake.training.resume import KeepBest

#: The metric on the validation subset that decides which epoch is best.
MONITOR = "f-measure"


def validation_interval(iterations_per_epoch: int) -> int:
    """Epochs between validations: 5 for tiny datasets, 1 from about 50 iterations an epoch.

    OTX's adaptive interval, round(5·exp(-0.025·iterations)).
    """
    return max(round(5 * math.exp(-0.025 * iterations_per_epoch)), 1)


def build_schedule(recipe: BaseRecipe, num_images: int) -> dict[str, Any]:
    """Return the arguments of MMEngine's Runner for a recipe and the number of train images."""
    parameters = recipe.learning_parameters
    epochs = parameters.num_iters
    iterations = math.ceil(num_images / parameters.batch_size)
    warmup = min(parameters.learning_rate_warmup_iters, epochs * iterations // 2)
    adaptive = min(validation_interval(iterations), epochs)
    interval = adaptive if parameters.use_adaptive_interval else 1
    # A validation of its own, where the whole training has none, would change the rest of it.
    stop = math.ceil((parameters.stop_after or epochs) / interval) * interval

    decays = "weight_decay" in recipe.optimizer  # MMEngine refuses factors of nothing
    no_decay = {"norm_decay_mult": 0, "bias_decay_mult": 0} if decays else {}
    improving = {"monitor": MONITOR, "rule": "greater"}
    schedulers: list[dict[str, Any]] = []
    warm = math.ceil(warmup / iterations)  # the first epoch that counts for a plateau
    if warmup > 1:  # MMEngine reaches the learning rate in the last iteration, never in an only one
        # Start at a third of the learning rate, as in the tutorial's log (1.333e-03 of 0.004).
        schedulers.append(
            {"type": "LinearLR", "start_factor": 1 / 3, "by_epoch": False, "end": warmup}
        )
    if parameters.learning_rate_schedule == "cosine":
        span = {"begin": warmup, "end": epochs * iterations}
        schedulers.append(
            {"type": "CosineAnnealingLR", "by_epoch": False, **span, "eta_min_ratio": 0.01}
        )
    else:
        bad = parameters.learning_rate_patience - 1  # MMEngine acts on the next one
        schedulers.append(
            {
                "type": _Plateau,
                **improving,
                "factor": 0.1,
                "patience": bad,
                "begin": warm,
                "end": epochs + 1,  # the last one counts, too, even if it is the only one
            }
        )
    # The averaged weights are validated and saved. They average about the last 250 iterations,
    # fewer at the start.
    hooks: list[Hook | dict[str, Any]] = [
        StopIfDiverged(
            "Lower learning_parameters.learning_rate, or raise "
            "learning_parameters.learning_rate_warmup_iters."
        ),
        {"type": "EMAHook", "ema_type": "ExpMomentumEMA", "momentum": 0.004, "gamma": 100},
        PreciseBatchNorm(),
    ]
    if parameters.enable_early_stopping:
        patience = parameters.early_stop_patience
        min_delta = 1e-4  # an equal F-measure is no improvement
        first = max(parameters.strong_epochs + 1, warm)
        hooks.append(_EarlyStopping(first, **improving, min_delta=min_delta, patience=patience))
    return {
        "train_cfg": {
            "type": TrainLoop,
            "max_epochs": epochs,
            "val_interval": interval,
            "last_epoch": min(stop, epochs),
        },
        "optim_wrapper": {
            "type": AmpOptimWrapper if device.name() == "cuda" else _CpuOptimWrapper,
            "optimizer": {"lr": parameters.learning_rate, **recipe.optimizer},
            "constructor": _FewGroups,
            # RTMDet's levels share convolutions, which are duplicates.
            "paramwise_cfg": {"bypass_duplicate": True, **no_decay},
            "clip_grad": {"max_norm": 35},
        },
        "param_scheduler": schedulers,
        "custom_hooks": hooks,
        "default_hooks": {
            "logger": {"type": "LoggerHook", "interval": 10, "ignore_last": False},
            "checkpoint": KeepBest(MONITOR),
        },
    }


@contextmanager
def mixed_precision(model: nn.Module) -> Iterator[None]:
    """Autocast to bfloat16 if the CPU computes in it; otherwise do nothing.

    Depthwise convolutions with a stride stay in single precision: oneDNN has no bfloat16 kernel for
    their gradients, and takes 10 to 80 times as long with its reference code.
    """
    if not torch.cpu._is_avx512_bf16_supported():
        yield
        return
    strided = [
        module
        for module in model.modules()
        if isinstance(module, nn.Conv2d)
        and module.groups == module.in_channels > 1
        and max(module.stride) > 1
    ]
    for convolution in strided:
        convolution.forward = partial(_in_single_precision, convolution.forward)
    try:
        with torch.autocast("cpu", torch.bfloat16):
            yield
    finally:
        for convolution in strided:
            del convolution.forward


def _in_single_precision(forward: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return forward(images.float())


class _FewGroups(DefaultOptimWrapperConstructor):
    """Makes one group of all parameters with the same settings: MMEngine makes one of each.

    An optimizer's step is a call for each group.
    """

    def add_params(
        self, params: list[dict[str, Any]], module: nn.Module, prefix: str = "", **more: Any
    ) -> None:
        """Add groups of a module's parameters."""
        super().add_params(params, module, prefix, **more)
        if not prefix:
            groups: dict[tuple, dict[str, Any]] = {}
            for group in params:
                settings = {key: value for key, value in group.items() if key != "params"}
                alike = groups.setdefault(tuple(settings.items()), {"params": [], **settings})
                alike["params"] += group["params"]
            params[:] = groups.values()


class _Plateau(ReduceOnPlateauLR):
    """MMEngine's scheduler, which waits until a validation has found something."""

    def step(self, metrics: dict[str, float] | None = None) -> None:
        """Count an epoch, or a validation, and lower the learning rate if none improves."""
        if metrics is None or max(metrics[MONITOR], self.best) > 0:
            super().step(metrics)


class _EarlyStopping(EarlyStoppingHook):
    """MMEngine's hook, which waits as `_Plateau` does, and goes on where a checkpoint was saved.

    Args:
        first: the first epoch that counts, from 1: warm-up is over, and images are as `light` makes
            them.
        settings: as for MMEngine's hook.
    """

    def __init__(self, first: int, **settings: Any) -> None:
        super().__init__(**settings)
        self._first = first

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Stop training if the last validations that count brought no improvement."""
        if runner.epoch >= self._first and max(metrics[MONITOR], self.best_score) > 0:
            super().after_val_epoch(runner, metrics)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        checkpoint["early_stopping"] = self.best_score, self.wait_count

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        self.best_score, self.wait_count = checkpoint["early_stopping"]
        runner.train_loop.stop_training = self.wait_count >= self.patience


class _CpuOptimWrapper(OptimWrapper):
    """Mixed precision on a CPU, which AmpOptimWrapper refuses; bfloat16 needs no loss scaling."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), mixed_precision(model):
            yield
