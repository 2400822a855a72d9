"""Training of a detector with MMEngine's Runner, resumable, on a GPU or on the CPU."""

import ctypes
import hashlib
import io
import json
import logging
import math
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from mmengine.device import get_device
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch import distributed as dist

from detmake import logs
from detmake.data import subsets
from detmake.detections import Detections
from detmake.evaluation.metrics import Evaluation
from detmake.model import checkpoint
from detmake.model.detector import test_pipeline
from detmake.model.network import build_detector, model_config
from detmake.model.snapshot import Snapshot
from detmake.training import distributed
from detmake.training.validation import with_best_threshold

log = logging.getLogger("detmake")

#: The metric of the validation subset that tells which epoch is best.
MONITOR = "f-measure"

#: How messages of MMEngine begin that say nothing about the training and come by the hundred.
_NOISE = ('"FileClient"', '"HardDiskBackend"', "paramwise_options", "Exp name:")


@dataclass(frozen=True)
class TrainingResult:
    """A snapshot of the best epoch and how it came about.

    Attributes:
        snapshot: weights of the epoch with the highest F-measure on the validation subset.
        evaluation: its detections on the validation subset, matched.
        scalars: a row for each logged step: learning rate, losses, validation metrics.
    """

    snapshot: Snapshot
    evaluation: Evaluation
    scalars: pd.DataFrame


def train(
    settings: Mapping[str, Any],
    train_file: Path,
    val_file: Path,
    checkpoints: Path,
    num_workers: int = 0,
    pretrained: Path | None = None,
    processes: int = 1,
) -> TrainingResult:
    """Train a detector, going on from the last checkpoint of an interrupted training.

    Several processes share each batch and average their gradients (`training.distributed`), so that
    the learning parameters mean the same for any number.

    Args:
        settings: `model`, `pipeline`, `optimizer`, `input_size`, `learning_parameters`, `id`,
            `name` and the `channel_order` of `pretrained` of an effective configuration
            and whatever else makes a checkpoint worthless when it changes.
        train_file: prepared annotations of the train subset (`detmake.data.checking`).
        val_file: prepared annotations of the validation subset.
        checkpoints: folder for what a later call needs to go on. A checkpoint of other settings or
            other data is removed. The caller removes the folder when the result is safe.
        num_workers: processes that load images; 0 loads them in this process.
        pretrained: weights to start from (`detmake.model.checkpoint`); None starts from scratch.
        processes: how many train, each on a GPU of its own or, without GPUs, on the CPU; the batch
            size is a multiple of it.

    Raises:
        InputError: the model cannot be built, or the pretrained weights are of another one.
        torch.distributed.elastic.multiprocessing.errors.ChildFailedError: one of several
            processes ended early; the others were ended, too.
    """
    train_coco, val_coco = subsets.read(train_file), subsets.read(val_file)
    labels = subsets.class_names(train_coco)
    config = model_config(
        settings["model"], len(labels), subsets.box_sizes(train_coco, settings["input_size"])
    )
    files = [file for file in (train_file, val_file, pretrained) if file]
    discard_foreign_checkpoints(checkpoints, origin(settings, files))
    _quieten(MMLogger.get_instance("detmake.training"))
    torch.manual_seed(settings["learning_parameters"]["seed"])  # initial weights
    detector = build_detector(config)
    detector.init_weights()
    if pretrained:
        checkpoint.load_pretrained(detector, pretrained, settings["channel_order"])
    log.info("Template %s, input %d×%d", settings["name"], *settings["input_size"])
    log.info("Classes: %s", ", ".join(labels))
    if processes == 1:
        weights = fit(
            detector,
            settings,
            schedule(settings, len(train_coco["images"])),
            train_file,
            val_file,
            checkpoints,
            num_workers,
        )
    else:
        job = {
            "model": config,
            "state_dict": detector.state_dict(),
            "settings": dict(settings),
            "num_images": len(train_coco["images"]),
            "files": (train_file, val_file, checkpoints),
            "num_workers": math.ceil(num_workers / processes),
            "threads": max(torch.get_num_threads() // processes, 1),
            "log_file": logs.file_of(log) or os.devnull,
        }
        torch.save(job, checkpoints / "job.pth")
        log.info("Training in %d processes", processes)
        distributed.launch(["-m", __name__, str(checkpoints / "job.pth")], processes)
        weights = _best_weights(checkpoints)
    snapshot, evaluation = with_best_threshold(
        Snapshot(
            model=config,
            labels=labels,
            input_size=list(settings["input_size"]),
            confidence_threshold=math.nan,
            template={"id": settings["id"], "name": settings["name"]},
            state_dict=weights,
        ),
        val_coco,
    )
    return TrainingResult(snapshot, evaluation, read_scalars(checkpoints))


def fit(
    detector: nn.Module,
    settings: Mapping[str, Any],
    schedule: Mapping[str, Any],
    train_file: Path,
    val_file: Path,
    checkpoints: Path,
    num_workers: int,
) -> dict[str, Tensor]:
    """Train a detector with MMEngine's Runner, going on from the last checkpoint.

    Args:
        detector: an MMDetection detector or a `CoreDetector`; changed in place.
        settings: `pipeline`, `input_size` and `learning_parameters`, as for `train`.
        schedule: the Runner's arguments that say how long and how fast to learn (`schedule`).
        train_file: prepared annotations of the train subset.
        val_file: prepared annotations of the validation subset.
        checkpoints: folder of checkpoints.
        num_workers: as for `train`.

    Returns:
        `state_dict`, on the CPU, of the epoch with the highest F-measure on the validation subset.
    """
    keep_freed_memory()
    train_coco, val_coco = subsets.read(train_file), subsets.read(val_file)
    parameters = settings["learning_parameters"]
    logger = MMLogger.get_instance("detmake.training")
    _quieten(logger)
    batch_size = parameters["batch_size"]
    # Losses are computed in single precision, whatever the network computed in.
    getattr(detector, "core", detector).bbox_head.register_forward_hook(
        lambda _, __, maps: tuple([level.float() for level in levels] for levels in maps)
    )
    hooks = schedule["custom_hooks"]
    several = dist.is_initialized()
    if several:
        batch_size //= dist.get_world_size()
        hooks = [*hooks, _AverageBuffers()]
    runner = _Runner(
        model=detector,
        work_dir=str(checkpoints),
        resume=True,
        # Processes that share a batch augment it in different ways.
        randomness={"seed": parameters["seed"], "diff_rank_seed": several},
        train_dataloader=_dataloader(
            train_file, train_coco, _train_pipeline(settings), True, batch_size, num_workers
        ),
        val_dataloader=_dataloader(
            val_file,
            val_coco,
            test_pipeline(settings["input_size"]),
            False,
            batch_size,
            num_workers,
        ),
        val_cfg={},
        val_evaluator=[_ValidationMetric(val_coco)],
        **{**schedule, "custom_hooks": hooks},
        launcher="pytorch" if several else "none",
        visualizer={
            "type": "Visualizer",
            "vis_backends": [{"type": "LocalVisBackend"}],
            "save_dir": str(checkpoints),
        },
        default_scope="mmdet",
    )
    logger.handlers = log.handlers
    logger.filters = [lambda record: not record.getMessage().startswith(_NOISE)]
    logger.setLevel(log.getEffectiveLevel())
    for name, coco in (("train", train_coco), ("val", val_coco)):
        logger.info("%s: %d images, %d boxes", name, len(coco["images"]), len(coco["annotations"]))
    logger.info("Learning parameters: %s", ", ".join(f"{k} {v}" for k, v in parameters.items()))
    with redirect_stdout(io.StringIO()):  # pycocotools' progress
        runner.train()
    return _best_weights(checkpoints)


def keep_freed_memory() -> None:
    """Make the C library keep freed memory for the next iteration (glibc only, else nothing).

    By default each large tensor is mapped from and returned to the kernel, which on a CPU costs
    about as much time as computing with it (`benchmarks/train_iteration.py`).
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            m_trim_threshold, m_mmap_max = -1, -4  # malloc.h
            mallopt(m_mmap_max, 0)
            mallopt(m_trim_threshold, 2**31 - 1)


def validation_interval(iterations_per_epoch: int) -> int:
    """Epochs between two validations: 5 for tiny datasets, 1 from about 50 iterations an epoch on.

    OTX's adaptive interval, round(5·exp(-0.025·iterations)).
    """
    return max(round(5 * math.exp(-0.025 * iterations_per_epoch)), 1)


def schedule(settings: Mapping[str, Any], num_images: int) -> dict[str, Any]:
    """The part of a Runner's configuration that the learning parameters decide.

    Args:
        settings: `optimizer` and `learning_parameters`, as for `train`.
        num_images: images of the train subset.
    """
    parameters = settings["learning_parameters"]
    epochs = parameters["num_iters"]
    iterations = math.ceil(num_images / parameters["batch_size"])
    warmup = min(parameters["learning_rate_warmup_iters"], epochs * iterations // 2)
    interval = 1
    if parameters["use_adaptive_interval"]:
        interval = min(validation_interval(iterations), epochs)

    schedulers: list[dict[str, Any]] = []
    if warmup:
        # A third of the learning rate at first, as in the tutorial's log (1.333e-03 of 0.004).
        schedulers.append(
            {"type": "LinearLR", "start_factor": 1 / 3, "by_epoch": False, "end": warmup}
        )
    if parameters["learning_rate_schedule"] == "cosine":
        schedulers.append(
            {
                "type": "CosineAnnealingLR",
                "by_epoch": False,
                "begin": warmup,
                "end": epochs * iterations,
                "eta_min_ratio": 0.01,
            }
        )
    else:
        schedulers.append(
            {
                "type": "ReduceOnPlateauLR",
                "monitor": MONITOR,
                "rule": "greater",
                "factor": 0.1,
                "patience": parameters["learning_rate_patience"],
            }
        )
    # The averaged weights are those that are validated and saved; they follow the last 250
    # iterations, fewer at the start.
    hooks: list[dict[str, Any]] = [
        {"type": "EMAHook", "ema_type": "ExpMomentumEMA", "momentum": 0.004, "gamma": 100}
    ]
    if parameters["enable_early_stopping"]:
        hooks.append(
            {
                "type": "EarlyStoppingHook",
                "monitor": MONITOR,
                "rule": "greater",
                "min_delta": 1e-4,  # an equal F-measure is no improvement
                "patience": parameters["early_stop_patience"],
            }
        )
    return {
        "train_cfg": {"by_epoch": True, "max_epochs": epochs, "val_interval": interval},
        "optim_wrapper": {
            "type": AmpOptimWrapper if torch.cuda.is_available() else _CpuOptimWrapper,
            "optimizer": {"lr": parameters["learning_rate"], **settings["optimizer"]},
            "paramwise_cfg": {
                "norm_decay_mult": 0,
                "bias_decay_mult": 0,
                "bypass_duplicate": True,  # levels of RTMDet share convolutions
            },
            "clip_grad": {"max_norm": 35},
        },
        "param_scheduler": schedulers,
        "custom_hooks": hooks,
        "default_hooks": {
            "logger": {"type": "LoggerHook", "interval": 10, "ignore_last": False},
            # Two, so that one is whole while the other is written.
            "checkpoint": {
                "type": "CheckpointHook",
                "interval": 1,
                "max_keep_ckpts": 2,
                "save_best": MONITOR,
                "rule": "greater",
            },
        },
    }


def mixed_precision() -> AbstractContextManager:
    """Autocast to bfloat16 on a CPU that computes in it, else nothing."""
    return torch.autocast("cpu", torch.bfloat16, enabled=torch.cpu._is_avx512_bf16_supported())


class _CpuOptimWrapper(OptimWrapper):
    """MMEngine's AmpOptimWrapper refuses CPUs; bfloat16 needs no loss scaling, its main part."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), mixed_precision():
            yield


def _train_pipeline(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """MMDetection transforms from an image file and its annotations to a training sample."""
    width, height = settings["input_size"]
    augmentations = []
    for transform in settings["pipeline"]:
        if transform["type"] == "RandomChoiceResize":  # scales are relative to the input size
            scales = [(round(w * width), round(h * height)) for w, h in transform["scales"]]
            transform = {**transform, "scales": scales}
        augmentations.append(transform)
    return [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations", "with_bbox": True},
        *augmentations,
        {"type": "PackDetInputs"},
    ]


def _dataloader(
    file: Path,
    coco: Mapping[str, Any],
    pipeline: list[dict[str, Any]],
    training: bool,
    batch_size: int,
    num_workers: int,
) -> dict[str, Any]:
    return {
        "batch_size": batch_size,
        "num_workers": num_workers,
        "persistent_workers": num_workers > 0,
        "sampler": {"type": "DefaultSampler", "shuffle": training},
        "dataset": {
            "type": "CocoDataset",
            "ann_file": str(file.resolve()),
            "data_prefix": {"img": str(Path(coco["info"]["image_root"]).resolve())},
            "metainfo": {"classes": subsets.class_names(coco)},
            "pipeline": pipeline,
            "test_mode": not training,
        },
    }


class _AverageBuffers(Hook):
    """Validates, and so saves, normalization statistics of all processes."""

    priority = "LOW"  # after EMAHook has put the averaged weights in place

    def before_val_epoch(self, runner: Runner) -> None:
        """Average what the processes hold."""
        distributed.average_buffers(runner.model)


class _Runner(Runner):
    """A Runner that logs where the library does, not to a folder of its own."""

    def build_logger(self, **kwargs: Any) -> MMLogger:
        return MMLogger.get_current_instance()

    def wrap_model(self, _: None, model: nn.Module) -> nn.Module:
        if not self.distributed:
            return super().wrap_model(None, model)
        return distributed.wrap(model.to(get_device()))

    def _init_model_weights(self) -> None:
        """The detector comes with initial weights; a Runner would list each of them in the log."""


class _ValidationMetric(BaseMetric):
    """F-measure at the best confidence threshold, and mAP, of the epoch's detections."""

    default_prefix = ""

    def __init__(self, coco: Mapping[str, Any]) -> None:
        super().__init__(collect_device="gpu")  # by the process group, not by files
        self._coco = coco

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            found = sample["pred_instances"]
            parts = (found[key].cpu().numpy() for key in ("bboxes", "scores", "labels"))
            self.results.append((sample["img_id"], Detections(*parts)))

    def compute_metrics(self, results: list) -> dict[str, float]:
        evaluation = Evaluation(self._coco, dict(results))
        threshold = evaluation.best_confidence_threshold()
        return {
            MONITOR: evaluation.counts(threshold).f_measure,
            "confidence_threshold": threshold,
            "mAP50": evaluation.average_precision(0.5),
        }


def origin(settings: Mapping[str, Any], files: Sequence[Path]) -> dict[str, Any]:
    """What a checkpoint is worthless without: settings, and digests of the input files."""
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return {"settings": dict(settings), "files": digests}


def discard_foreign_checkpoints(checkpoints: Path, origin: Mapping[str, Any]) -> None:
    """Empty the folder of checkpoints unless they are of a training from the same origin."""
    description = checkpoints / "origin.json"
    content = json.dumps(origin, sort_keys=True)
    if description.exists() and description.read_text(encoding="utf-8") == content:
        return
    shutil.rmtree(checkpoints, ignore_errors=True)
    checkpoints.mkdir(parents=True)
    description.write_text(content, encoding="utf-8")


def _best_checkpoint(checkpoints: Path) -> Path:
    """The checkpoint of the best epoch; the last one if there is none."""
    best = sorted(checkpoints.glob("best_*.pth"), key=lambda path: path.stat().st_mtime_ns)
    return best[-1] if best else Path((checkpoints / "last_checkpoint").read_text())


def _best_weights(checkpoints: Path) -> dict[str, Tensor]:
    best = torch.load(_best_checkpoint(checkpoints), map_location="cpu", weights_only=False)
    return best["state_dict"]


def read_scalars(checkpoints: Path) -> pd.DataFrame:
    """What MMEngine logged; of a step that was repeated after an interruption, the last."""
    files = sorted(checkpoints.glob("vis_data/scalars.json"))
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    scalars = pd.DataFrame(rows)
    scalars.insert(0, "kind", ["train" if "loss" in row else "validation" for row in rows])
    return scalars.drop_duplicates(["kind", "step"], keep="last").reset_index(drop=True)


def _quieten(logger: logging.Logger) -> None:
    """Keep from MMEngine that it describes the machine, the model and each initial weight."""
    logger.setLevel(logging.WARNING)


def _join(job_file: Path) -> None:
    """Train as one of several processes."""
    job = torch.load(job_file, weights_only=False)
    torch.set_num_threads(job["threads"])
    with distributed.member() as number, logs.job(job["log_file"], append=True):
        if number:
            log.setLevel(logging.WARNING)  # the first one tells
        detector = build_detector(job["model"])
        detector.load_state_dict(job["state_dict"])
        settings = job["settings"]
        how = schedule(settings, job["num_images"])
        fit(detector, settings, how, *job["files"], job["num_workers"])


if __name__ == "__main__":
    _join(Path(sys.argv[1]))
