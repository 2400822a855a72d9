"""Quantization-aware training: int8 within an accuracy budget on the validation subset."""

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from mmcv.transforms import Compose
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from detmake.artifacts import write_json
from detmake.data import subsets
from detmake.evaluation.bootstrap import drop_interval
from detmake.evaluation.metrics import Evaluation
from detmake.model import ir, quantized_core
from detmake.model.detector import test_pipeline
from detmake.model.network import CoreDetector, build_detector
from detmake.model.snapshot import Snapshot
from detmake.quantization import measured
from detmake.quantization.budget import Budget
from detmake.runtime.model_folder import write_model_folder
from detmake.tiling import Tiling
from detmake.training import resume
from detmake.training.divergence import StopIfDiverged
from detmake.training.recipe import BaseRecipe
from detmake.training.runner import fit
from detmake.training.schedule import MONITOR, build_schedule
from detmake.training.validation import with_best_threshold

log = logging.getLogger("detmake")

#: The share of the budget within which training stops: the exported model may lose a little more.
SAFE_SHARE = 0.5


@dataclass(frozen=True)
class QuantizationAwareRecipe(BaseRecipe):
    """How to quantize a snapshot by training.

    Fine-tuning takes only batch size, seed, balance and augmentation from the snapshot's
    `learning_parameters`. The attributes below are `nncf_optimization` of the configuration;
    `rules/schema.yaml` has the defaults.

    Attributes:
        preset: `performance` (symmetric quantization) or `mixed` (asymmetric activations).
        stat_subset_size: images of the train subset that calibrate the initial ranges.
        num_iters: epochs of fine-tuning, at most.
        learning_rate: learning rate at the start of fine-tuning.
        maximal_accuracy_degradation: budget in points; 1.0 is 0.01 of F-measure.
        on_degradation: `fail` or `warn`, if the budget is exceeded.
    """

    preset: str
    stat_subset_size: int
    num_iters: int
    learning_rate: float
    maximal_accuracy_degradation: float
    on_degradation: str

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """Make a recipe of a rule's parameters, which may include others."""
        return super().from_params({**params, **params["nncf_optimization"]})

    def course(self) -> Self:
        """Return the recipe without the budget.

        The budget decides which epoch is the last, and whether the result is good enough.
        """
        return replace(super().course(), maximal_accuracy_degradation=0.0, on_degradation="")

    def fine_tuning(self) -> Self:
        """Return the recipe with the learning parameters of fine-tuning.

        Images change as in the last epochs of training.
        """
        learned = self.learning_parameters
        parameters = replace(
            learned,
            num_iters=self.num_iters,
            learning_rate=self.learning_rate,
            learning_rate_warmup_iters=0,
            learning_rate_schedule="cosine",
            use_adaptive_interval=False,
            enable_early_stopping=False,
            stop_after=None,
            augmentation="light" if learned.augmentation == "strong" else learned.augmentation,
        )
        return replace(self, learning_parameters=parameters)


def quantize(
    weights_file: Path,
    recipe: QuantizationAwareRecipe,
    train_file: Path,
    val_file: Path,
    checkpoints: Path,
    folder: Path,
    num_workers: int | str = 0,
) -> tuple[Snapshot, bool]:
    """Quantize a snapshot, fine-tune it until it is within its accuracy budget, and export it.

    Trains for at least one and at most `num_iters` epochs, and stops after the first epoch within
    half the budget (`SAFE_SHARE`). If the exported model is beyond the budget all the same, it
    trains for the epochs that are left, and keeps the better one of the two exported models. An
    interrupted call resumes from its last checkpoint. Beside it, `first_pass.json` says that the
    first pass, for a budget, is over, and `first_pass.pth` is its snapshot.

    Args:
        weights_file: the floating-point snapshot.
        recipe: how to quantize and fine-tune.
        train_file, val_file, checkpoints, num_workers: as for `detmake.training.train.train`.
        folder: receives the exported model (`detmake.runtime.model_folder`).

    Returns:
        The quantized snapshot with the highest F-measure, which may be the one before fine-tuning,
        and may be beyond the budget; and whether a call that begins anew gives the same. It does
        not if this one went on, with a larger budget, from checkpoints of later epochs than it
        needed.

    Raises:
        InputError: the snapshot finds nothing, or training diverged.
    """
    train_coco, val_coco = subsets.read(train_file), subsets.read(val_file)
    resume.discard_foreign_checkpoints(checkpoints, recipe, [weights_file, train_file, val_file])
    snapshot = Snapshot.load(weights_file)
    loaded, original = with_best_threshold(snapshot, val_coco)
    budget = Budget(loaded.f_measure, recipe.maximal_accuracy_degradation)
    log.info("F-measure of the snapshot, when it was trained:  %.4f", snapshot.f_measure)
    log.info("F-measure of the snapshot, loaded:               %.4f", loaded.f_measure)

    file = checkpoints / "initialized.pth"
    if file.exists():
        initialized = Snapshot.load(file)
    else:
        initialized = _initialized(snapshot, recipe, train_coco, val_coco, loaded.f_measure)
        initialized.save(file)
    log.info("After initialization: %s", budget.report(initialized.f_measure))

    files = train_file, val_file, checkpoints
    note, kept = checkpoints / "first_pass.json", checkpoints / "first_pass.pth"
    first = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}
    if first.get("budget") != asdict(budget):
        first = {}
    is_repeatable = first.get("is_repeatable", True)
    # An interrupted second pass goes on: a first one would take its epochs for those of its own.
    for share in [-math.inf] if first else [SAFE_SHARE, -math.inf]:
        stop = _StopWithinBudget(budget, share)
        weights, validated = _fine_tune(snapshot, initialized, recipe, stop, *files, num_workers)
        fine_tuned, _ = with_best_threshold(replace(initialized, state_dict=weights), val_coco)

        best = max(fine_tuned, initialized, key=lambda candidate: candidate.f_measure)
        log.info("After quantization-aware training: %s", budget.report(best.f_measure))
        is_repeatable &= not any(budget.allows(found, share) for found in validated[:-1])
        description = {
            "method": "quantization-aware training",
            "epochs": len(validated),
            "f-measure_initialized": initialized.f_measure,
        }
        exported = _export(best, original, val_coco, budget, description, folder)
        if budget.allows(exported) or len(validated) >= recipe.num_iters:
            break
        log.warning("The exported model is beyond the budget: training for all epochs")
        first = {"exported": exported, "description": description, "is_repeatable": is_repeatable}
        best.save(kept)
        write_json(note, {"budget": asdict(budget), **first})
    if first and exported < first["exported"]:
        log.info("The model that was exported first is better: keeping it")
        best = Snapshot.load(kept)
        _export(best, original, val_coco, budget, first["description"], folder)
    return best, is_repeatable


def _fine_tune(
    snapshot: Snapshot,
    initialized: Snapshot,
    recipe: QuantizationAwareRecipe,
    stop: Hook,
    train_file: Path,
    val_file: Path,
    checkpoints: Path,
    num_workers: int | str,
) -> tuple[dict[str, Tensor], list[float]]:
    """Train until `stop` ends it; return the best weights and the F-measure after each epoch."""
    fine_tuning = recipe.fine_tuning()
    schedule = build_schedule(fine_tuning, len(subsets.read(train_file)["images"]))
    # Quantizers round to a grid, so train in single precision and do not average the weights.
    schedule["optim_wrapper"]["type"] = OptimWrapper
    schedule["custom_hooks"] = [StopIfDiverged("Lower nncf_optimization.learning_rate."), stop]
    detector = CoreDetector(build_detector(snapshot.model), initialized.core())
    files = train_file, val_file, checkpoints
    fit(detector, fine_tuning, snapshot.input_size, schedule, *files, num_workers)
    weights = resume.best_weights(checkpoints)
    validated = resume.read_scalars(checkpoints).query("kind == 'validation'")[MONITOR]
    return {name.removeprefix("core."): value for name, value in weights.items()}, list(validated)


def _export(
    snapshot: Snapshot,
    original: Evaluation,
    val_coco: Mapping[str, Any],
    budget: Budget,
    description: Mapping[str, Any],
    folder: Path,
) -> float:
    """Write a quantized snapshot's IR, whose `config.json` says what the IR loses.

    Torch only simulates int8. What counts is the IR on a CPU, which may round or saturate.

    Returns:
        The IR's F-measure on the validation subset.
    """
    model = ir.convert(snapshot)
    evaluation = measured.evaluate(model, val_coco, Tiling.described(snapshot.tiling))
    threshold, f_measure = evaluation.best()
    low, high = drop_interval(original, evaluation)
    interval = 100 * low, 100 * high
    log.info("As exported: %s", budget.report(f_measure, interval))
    quantization = {**description, **budget.describe(f_measure, interval)}
    changed = {"confidence_threshold": threshold, "quantization": quantization}
    write_model_folder(model, folder, {**ir.describe(snapshot), **changed})
    return f_measure


def _initialized(
    snapshot: Snapshot,
    recipe: QuantizationAwareRecipe,
    train_coco: Mapping[str, Any],
    val_coco: Mapping[str, Any],
    original: float,
) -> Snapshot:
    """The snapshot with calibrated quantizers: the first that loses little, or else the best.

    The budget does not count here: a training goes on when it changes.
    """
    little = Budget(original, 1.0)
    tried = []
    for ranges in quantized_core.RANGES:
        calibrated = _calibrated(snapshot, recipe, train_coco, ranges)
        tried.append(with_best_threshold(calibrated, val_coco)[0])
        log.info("Ranges '%s': F-measure %.4f", ranges, tried[-1].f_measure)
        if little.allows(tried[-1].f_measure):
            break
    return max(tried, key=lambda candidate: candidate.f_measure)


def _calibrated(
    snapshot: Snapshot, recipe: QuantizationAwareRecipe, train_coco: Mapping[str, Any], ranges: str
) -> Snapshot:
    """The snapshot with calibrated quantizers."""
    paths = subsets.image_paths(train_coco)
    images = subsets.evenly_spread(paths, recipe.stat_subset_size)
    log.info("Calibrating with %d images, preset %s", len(images), recipe.preset)
    preprocess = build_detector(snapshot.model).data_preprocessor
    pipeline = Compose(test_pipeline(snapshot.input_size))

    def batch(path: Path) -> Tensor:
        packed = pipeline({"img_path": str(path), "img_id": 0})
        return preprocess(pseudo_collate([packed]))["inputs"]

    mean, std = (
        np.asarray(snapshot.model["data_preprocessor"].get(key) or default, dtype=float)
        for key, default in (("mean", 0), ("std", 1))
    )
    input_range = float(np.min(-mean / std)), float(np.max((255 - mean) / std))
    core = quantized_core.initialize(
        snapshot.core(), images, batch, recipe.preset, ranges, input_range
    )
    described = quantized_core.describe(core)
    return replace(snapshot, state_dict=core.state_dict(), quantizers=described)


class _StopWithinBudget(Hook):
    """Stops training after the first validated epoch within a share of the budget."""

    def __init__(self, budget: Budget, share: float) -> None:
        self._budget = budget
        self._share = share

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Stop at once if an earlier epoch is within the budget, which may have been raised."""
        best = checkpoint["best"][MONITOR]
        runner.train_loop.stop_training = self._budget.allows(best, self._share)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Log the epoch's F-measure against the budget and stop training if it is within."""
        f_measure = metrics[MONITOR]
        log.info("After epoch %d: %s", runner.epoch, self._budget.report(f_measure))
        if self._budget.allows(f_measure, self._share):
            runner.train_loop.stop_training = True
