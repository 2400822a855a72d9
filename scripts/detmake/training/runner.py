"""MMEngine's Runner: data loaders, validation, and the training loop itself."""

import ctypes
import io
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from mmengine.device import get_device
from mmengine.dist import get_world_size, is_distributed, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.hooks import SyncBuffersHook
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

from detmake.data import subsets
from detmake.errors import InputError
from detmake.evaluation.metrics import Evaluation
from detmake.model import device
from detmake.model.detector import as_exported, test_pipeline
from detmake.tiling import Tiling
from detmake.training import augmented_dataset, distributed, loading, resume
from detmake.training.recipe import BaseRecipe
from detmake.training.schedule import MONITOR
from detmake.training.window_dataset import WindowDataset, merged

log = logging.getLogger("detmake")

#: Beginnings of frequent MMEngine messages that say nothing about the training.
_NOISE = ('"FileClient"', '"HardDiskBackend"', "paramwise_options", "Exp name:")


def fit(
    detector: nn.Module,
    recipe: BaseRecipe,
    input_size: Sequence[int],
    schedule: Mapping[str, Any],
    train_file: Path,
    val_file: Path,
    checkpoints: Path,
    num_workers: int | str,
) -> None:
    """Train a detector with MMEngine's Runner, resuming from the last checkpoint.

    `resume.best_weights` then reads the weights of the best epoch. If the train subset consists of
    tiles, validation cuts images into tiles as well, and merges what is found: it measures what the
    finished detector will do. Whole images alone would hide the small objects.

    Args:
        detector: an MMDetection detector or a `CoreDetector`; changed in place.
        recipe: how to train.
        input_size: width and height in pixels that an image is resized to.
        schedule: further arguments of the Runner (`build_schedule`).
        train_file, val_file, checkpoints, num_workers: as for `detmake.training.train.train`.
    """
    keep_freed_memory()
    train_coco, val_coco = subsets.read(train_file), subsets.read(val_file)
    logger = quiet_mmengine()
    parameters = recipe.learning_parameters
    tiling = Tiling.described(train_coco["info"].get("tiling"))
    # Compute losses in single precision, whatever the network's precision.
    getattr(detector, "core", detector).bbox_head.register_forward_hook(
        lambda _, __, maps: tuple([level.float() for level in levels] for levels in maps)
    )
    several = is_distributed()
    hooks = [*schedule["custom_hooks"], resume.PlainMessages(), SyncBuffersHook()]
    share = parameters.batch_size // get_world_size()
    num_workers = loading.processes(num_workers, share, input_size)
    loaded = {
        "batch_size": share,
        "num_workers": num_workers,
        "persistent_workers": num_workers > 0,
    }
    latest = resume.newest(checkpoints)
    if is_main_process():
        resume.mend_scalars(checkpoints, latest)
    runner = _Runner(
        model=detector,
        work_dir=str(checkpoints),
        resume=latest is not None,
        load_from=latest and str(latest),
        randomness={"seed": parameters.seed},
        train_dataloader={
            **loaded,
            "sampler": {"type": augmented_dataset.EpochSampler, "balance": parameters.balance},
            "dataset": {
                **augmented_dataset.files(train_file, train_coco),
                **augmented_dataset.transforms(
                    parameters.augmentation, recipe.pipeline, input_size, parameters.strong_epochs
                ),
                "type": augmented_dataset.AugmentedDataset,
                "seed": parameters.seed,
            },
        },
        val_dataloader={
            **loaded,
            "sampler": {"type": "DefaultSampler", "shuffle": False},
            "dataset": _validation_dataset(val_file, val_coco, input_size, tiling),
        },
        val_cfg={},
        val_evaluator=[_ValidationMetric(val_coco, tiling)],
        **{**schedule, "custom_hooks": hooks},
        launcher="pytorch" if several else "none",
        visualizer={
            "type": "Visualizer",
            "vis_backends": [{"type": "LocalVisBackend"}],
            "save_dir": str(checkpoints),
        },
        default_scope="mmdet",
        # MMEngine names a training after the second in which it begins. In one process, two of them
        # may begin in the same one, and would write their scalars into one folder.
        experiment_name=uuid4().hex,
    )
    logger.handlers = log.handlers
    logger.filters = [lambda record: not record.getMessage().startswith(_NOISE)]
    logger.setLevel(log.getEffectiveLevel())
    for name, coco in (("train", train_coco), ("val", val_coco)):
        logger.info("%s: %d images, %d boxes", name, len(coco["images"]), len(coco["annotations"]))
    described = ", ".join(f"{key} {value}" for key, value in asdict(parameters).items())
    logger.info("Learning parameters: %s", described)
    with redirect_stdout(io.StringIO()), _deterministic():  # hide pycocotools' progress
        runner.train()


@contextmanager
def _deterministic() -> Iterator[None]:
    """On a CPU, let torch add in the same order each time.

    Threads otherwise add the gradients of `x[indices]` in any order.
    """
    if device.name() != "cpu":
        yield
        return
    before = torch.get_deterministic_debug_mode()
    torch.utils.deterministic.fill_uninitialized_memory = False  # it only costs time
    torch.set_deterministic_debug_mode("warn")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next iteration; do nothing with other C libraries.

    By default glibc maps each large tensor from the kernel and returns it, which takes a CPU about
    as long as the computation (`benchmarks/train_iteration.py`).
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            m_trim_threshold, m_mmap_max = -1, -4  # malloc.h
            mallopt(m_mmap_max, 0)
            mallopt(m_trim_threshold, 2**31 - 1)


def quiet_mmengine() -> MMLogger:
    """Stop MMEngine from logging the machine, the model and every initial weight."""
    logger = MMLogger.get_instance("detmake.training")
    logger.setLevel(logging.WARNING)
    return logger


def _validation_dataset(
    file: Path, coco: Mapping[str, Any], input_size: Sequence[int], tiling: Tiling | None
) -> dict[str, Any]:
    settings = {**augmented_dataset.files(file, coco), "test_mode": True}
    if tiling is None:
        return {**settings, "type": "CocoDataset", "pipeline": test_pipeline(input_size)}
    return {**settings, "type": WindowDataset, "tiling": tiling, "input_size": input_size}


class _Runner(Runner):
    """A Runner that uses the library's logger, checkpoints and wrapper for several processes."""

    def build_logger(self, **kwargs: Any) -> MMLogger:
        return MMLogger.get_current_instance()

    def wrap_model(self, _: None, model: nn.Module) -> nn.Module:
        if not self.distributed:
            return super().wrap_model(None, model)
        return distributed.wrap(model.to(get_device()))

    def load_checkpoint(self, filename: str, map_location: Any) -> dict[str, Any]:
        """Load a checkpoint; MMEngine's own method falls back to running code from it."""
        checkpoint = resume.load(Path(filename), map_location)
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        model = self.model.module if is_model_wrapper(self.model) else self.model
        model.load_state_dict(checkpoint["state_dict"])
        return checkpoint

    def build_optim_wrapper(self, wrapper: Any) -> OptimWrapper:
        """Build the optimizer of the template.

        Raises:
            InputError: it cannot be built.
        """
        try:
            return super().build_optim_wrapper(wrapper)
        except (OSError, MemoryError):  # of the machine: not the template's fault
            raise
        except Exception as error:
            kind = wrapper["optimizer"]["type"]
            raise InputError(
                f"optimizer: found {kind}, which cannot be built: {type(error).__name__}: {error}\n"
                "Correct `optimizer` in the template file."
            ) from error

    def _log_env(self, _: dict[str, Any]) -> None:
        """Skip this step: nobody sees it, but the shell complains if there is no C compiler."""

    def _init_model_weights(self) -> None:
        """Skip this step: the detector has initial weights, and a Runner would log each one."""


class _ValidationMetric(BaseMetric):
    """F-measure at the best confidence threshold, and mAP, of an epoch's detections."""

    default_prefix = ""

    def __init__(self, coco: Mapping[str, Any], tiling: Tiling | None) -> None:
        super().__init__(collect_device="gpu")  # through the process group, not through files
        self._coco = coco
        self._tiling = tiling

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            key = (sample["img_id"], sample["window"]) if self._tiling else sample["img_id"]
            found = as_exported(sample["pred_instances"], sample["ori_shape"])
            self.results.append((key, found))

    def compute_metrics(self, results: list) -> dict[str, float]:
        found = dict(results)
        if self._tiling:
            found = merged(found, self._coco, self._tiling)
        evaluation = Evaluation(self._coco, found)
        threshold, f_measure = evaluation.best()
        return {
            MONITOR: f_measure,
            "confidence_threshold": threshold,
            "mAP50": evaluation.average_precision(0.5),
        }
