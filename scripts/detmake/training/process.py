"""Training in several processes: `python -m detmake.training.process job.pth` is one of them."""

import logging
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from detmake import logs
from detmake.errors import InputError
from detmake.model.network import build_detector
from detmake.training import distributed
from detmake.training.runner import fit

log = logging.getLogger("detmake")


def fit_in_processes(
    processes: int, model: Mapping[str, Any], detector: nn.Module, arguments: Mapping[str, Any]
) -> None:
    """Run `fit` in several processes.

    Args:
        processes: number of processes.
        model: the complete MMDetection `model` dict of the detector.
        detector: the detector with its initial weights; not changed.
        arguments: further arguments of `fit`; its `num_workers` are for all processes together.

    Raises:
        InputError: as for `fit`.
        torch.distributed.elastic.multiprocessing.errors.ChildFailedError: a process failed.
    """
    job_file = arguments["checkpoints"] / "job.pth"
    mistake_file = _mistake_file(job_file)
    mistake_file.unlink(missing_ok=True)
    workers = arguments["num_workers"]
    if workers != "auto":
        workers = math.ceil(workers / processes)
    job = {
        "model": model,
        "state_dict": detector.state_dict(),
        "arguments": {**arguments, "num_workers": workers},
        "threads": max(torch.get_num_threads() // processes, 1),
        "log_file": logs.file_of(log) or os.devnull,
    }
    torch.save(job, job_file)
    log.info("Training in %d processes", processes)
    try:
        distributed.launch(["-m", __name__, str(job_file)], processes)
    except ChildFailedError:
        if mistake_file.exists():
            raise InputError(mistake_file.read_text(encoding="utf-8")) from None
        raise


def _mistake_file(job_file: Path) -> Path:
    """The file in which a process reports a user's mistake to the process that launched it."""
    return job_file.with_name("mistake.txt")


def _join(job_file: Path) -> None:
    """Train as one of several processes."""
    job = torch.load(job_file, weights_only=False)
    torch.set_num_threads(job["threads"])
    with distributed.member() as rank, logs.job(job["log_file"], append=True):
        if rank:
            log.setLevel(logging.WARNING)  # only the first process logs progress
        detector = build_detector(job["model"])
        detector.load_state_dict(job["state_dict"])
        try:
            fit(detector, **job["arguments"])
        except InputError as error:
            _mistake_file(job_file).write_text(str(error), encoding="utf-8")
            sys.exit(1)


if __name__ == "__main__":
    _join(Path(sys.argv[1]))
