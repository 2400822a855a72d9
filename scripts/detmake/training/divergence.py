"""A training that diverges ends before it can replace good weights."""

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from detmake.errors import InputError


class StopIfDiverged(Hook):
    """Ends a training whose loss or weights are not finite.

    Mixed precision on a GPU skips steps with infinite gradients, but the loss is finite even then.

    Args:
        remedy: what to change in the configuration, as an imperative sentence.
    """

    priority = "HIGHEST"  # before the learning rate changes

    def __init__(self, remedy: str) -> None:
        self._remedy = remedy

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Check the loss. This costs nothing: MMEngine reads it for its log, too.

        Raises:
            InputError: the loss is not finite.
        """
        if not torch.isfinite(outputs["loss"]):
            found = f"a loss of {outputs['loss'].item()}"
            self._refuse(runner, f"{found} in epoch {runner.epoch + 1}, iteration {batch_idx + 1}")

    def after_train_epoch(self, runner: Runner) -> None:
        """Check the weights, which the last step of an epoch may have spoiled, and statistics.

        Raises:
            InputError: a weight, or a statistic of normalization, is not finite.
        """
        if not all(torch.isfinite(value).all() for value in runner.model.state_dict().values()):
            self._refuse(runner, f"weights that are not finite after epoch {runner.epoch + 1}")

    def _refuse(self, runner: Runner, found: str) -> None:
        rate = runner.optim_wrapper.get_lr()["lr"][0]
        raise InputError(
            f"The training diverged: found {found}, at a learning rate of {rate:.4g}. "
            f"{self._remedy}"
        )
