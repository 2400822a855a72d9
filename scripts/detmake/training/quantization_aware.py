"""Quantization-aware training: int8 within a budget of accuracy, on the validation subset."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmcv.transforms import Compose
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from detmake.data import subsets
from detmake.model import quantized_core
from detmake.model.detector import test_pipeline
from detmake.model.network import CoreDetector, build_detector
from detmake.model.snapshot import Snapshot
from detmake.quantization.budget import Budget
from detmake.training import train as float_training
from detmake.training.validation import with_best_threshold

log = logging.getLogger("detmake")


def train(
    weights_file: Path,
    settings: Mapping[str, Any],
    train_file: Path,
    val_file: Path,
    checkpoints: Path,
    num_workers: int = 0,
) -> tuple[Snapshot, dict[str, Any]]:
    """Quantize a snapshot's core and fine-tune it until it is within its budget of accuracy.

    At least one epoch is trained, and at most `num_iters`; training stops after the first epoch
    within the budget. An interrupted call goes on from its last checkpoint.

    Args:
        weights_file: the snapshot in floating point.
        settings: `pipeline`, `optimizer`, `learning_parameters` and `nncf_optimization` of an
            effective configuration (`detmake.build.configuration`).
        train_file: prepared annotations of the train subset (`detmake.data.checking`).
        val_file: prepared annotations of the validation subset.
        checkpoints: as for `detmake.training.train.train`.
        num_workers: as for `detmake.training.train.train`.

    Returns:
        The quantized snapshot with the highest F-measure of all, the initialization included; and
        how it came about, for `config.json`.

    Raises:
        InputError: the budget is exceeded, and `on_degradation` is `fail`.
    """
    parameters = settings["nncf_optimization"]
    train_coco, val_coco = subsets.read(train_file), subsets.read(val_file)
    origin = float_training.origin(settings, [weights_file, train_file, val_file])
    float_training.discard_foreign_checkpoints(checkpoints, origin)
    snapshot = Snapshot.load(weights_file)
    loaded, _ = with_best_threshold(snapshot, val_coco)
    budget = Budget(loaded.f_measure, parameters["maximal_accuracy_degradation"])
    log.info("F-measure of the snapshot, when it was trained:  %.4f", snapshot.f_measure)
    log.info("F-measure of the snapshot, loaded:               %.4f", loaded.f_measure)

    initialized = _initialized(snapshot, parameters, train_coco, val_coco, checkpoints)
    log.info("After initialization: %s", budget.report(initialized.f_measure))

    tuned = {
        **settings["learning_parameters"],
        "num_iters": parameters["num_iters"],
        "learning_rate": parameters["learning_rate"],
        "learning_rate_warmup_iters": 0,
        "learning_rate_schedule": "cosine",
        "use_adaptive_interval": False,
        "enable_early_stopping": False,
    }
    settings = {**settings, "input_size": snapshot.input_size, "learning_parameters": tuned}
    schedule = float_training.schedule(settings, len(train_coco["images"]))
    # Quantizers round to a grid: in single precision, and without averaging of weights.
    schedule["optim_wrapper"]["type"] = OptimWrapper
    schedule["custom_hooks"] = [_StopWithinBudget(budget)]
    detector = CoreDetector(build_detector(snapshot.model), initialized.core())
    weights = float_training.fit(
        detector, settings, schedule, train_file, val_file, checkpoints, num_workers
    )
    weights = {name.removeprefix("core."): value for name, value in weights.items()}
    fine_tuned, _ = with_best_threshold(replace(initialized, state_dict=weights), val_coco)

    best = max(fine_tuned, initialized, key=lambda candidate: candidate.f_measure)
    log.info("After quantization-aware training: %s", budget.report(best.f_measure))
    scalars = float_training.read_scalars(checkpoints)
    description = {
        "method": "quantization-aware training",
        "epochs": int(scalars.query("kind == 'validation'").shape[0]),
        "f-measure_initialized": initialized.f_measure,
        **budget.describe(best.f_measure),
    }
    budget.enforce(best.f_measure, parameters["on_degradation"], "nncf_optimization")
    return best, description


def _initialized(
    snapshot: Snapshot,
    parameters: Mapping[str, Any],
    train_coco: Mapping[str, Any],
    val_coco: Mapping[str, Any],
    checkpoints: Path,
) -> Snapshot:
    """The snapshot with calibrated quantizers, of an interrupted call where there was one."""
    file = checkpoints / "initialized.pth"
    if file.exists():
        return Snapshot.load(file)
    paths = subsets.image_paths(train_coco)
    images = subsets.evenly_spread(paths, parameters["stat_subset_size"])
    log.info("Calibrating with %d images, preset %s", len(images), parameters["preset"])
    preprocess = build_detector(snapshot.model).data_preprocessor
    pipeline = Compose(test_pipeline(snapshot.input_size))

    def batch(path: Path) -> Tensor:
        packed = pipeline({"img_path": str(path), "img_id": 0})
        samples = {"inputs": [packed["inputs"]], "data_samples": [packed["data_samples"]]}
        return preprocess(samples)["inputs"]

    core = quantized_core.initialize(snapshot.core(), images, batch, parameters["preset"])
    quantized = replace(
        snapshot, state_dict=core.state_dict(), quantizers=quantized_core.describe(core)
    )
    quantized, _ = with_best_threshold(quantized, val_coco)
    quantized.save(file)
    return quantized


class _StopWithinBudget(Hook):
    """Ends training after the first validated epoch within the budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Log the epoch's accuracy against the budget, and stop where it suffices."""
        f_measure = metrics[float_training.MONITOR]
        log.info("After epoch %d: %s", runner.epoch, self._budget.report(f_measure))
        if self._budget.allows(f_measure):
            runner.train_loop.stop_training = True
