"""The loop over epochs: its order, and where its random numbers come from."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner

from detmake.errors import InputError
from detmake.training import resume
from detmake.training.random_numbers import drawn_for


class TrainLoop(EpochBasedTrainLoop):
    """Tries one batch before the first epoch, and saves a checkpoint at the end of each.

    An epoch ends with its validation, if there is one. MMEngine saves before it validates. Then a
    training that resumes lacks what its hooks and schedulers learned from the validation.

    Args:
        runner, dataloader, settings: as for MMEngine's loop.
        last_epoch: where to stop on the way to `max_epochs`.

    Raises:
        InputError: the template's augmentations cannot be built.
    """

    def __init__(self, runner: Runner, dataloader: Any, last_epoch: int, **settings: Any) -> None:
        self._last_epoch = last_epoch
        with _blaming("pipeline"):
            super().__init__(runner, dataloader, **settings)

    def run(self) -> torch.nn.Module:
        """Train.

        Raises:
            InputError: the first batch fails.
        """
        if not self.iter:
            self._try_first_batch()
        self.runner.call_hook("before_train")
        while self.epoch < self._last_epoch and not self.stop_training:
            self.run_epoch()
            if self.epoch % self.val_interval == 0 or self.epoch == self.max_epochs:
                self.runner.val_loop.run()
            resume.save(self.runner)
        self.runner.call_hook("after_train")
        return self.runner.model

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Take a step, with random numbers that depend only on seed, process and iteration."""
        with drawn_for("iteration", self.runner.seed, self.runner.rank, self.iter):
            super().run_iter(idx, data_batch)

    def _try_first_batch(self) -> None:
        """Load a batch and compute losses and gradients; leave the model as it was."""
        model = self.runner.model
        model = model.module if is_model_wrapper(model) else model
        loader = self.dataloader
        before = {name: value.clone() for name, value in model.state_dict().items()}
        model.train()
        with drawn_for("first batch", self.runner.seed, self.runner.rank):
            with _blaming("pipeline"):
                indices = islice(loader.sampler, loader.batch_size)
                batch = loader.collate_fn([loader.dataset[index] for index in indices])
            with _blaming("model"):
                with self.runner.optim_wrapper.optim_context(model):
                    losses = model(**model.data_preprocessor(batch, True), mode="loss")
                model.parse_losses(losses)[0].backward()
        model.zero_grad()
        model.load_state_dict(before)


@contextmanager
def _blaming(key: str) -> Iterator[None]:
    """Turn an exception into an `InputError` that names a key of the template."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"The GPU has too little memory for a batch: {error}\n"
            "Lower learning_parameters.batch_size or input_size."
        ) from error
    except Exception as error:
        raise InputError(
            f"{key}: the first batch of images fails: {type(error).__name__}: {error}\n"
            f"Correct `{key}` in the template file."
        ) from error
