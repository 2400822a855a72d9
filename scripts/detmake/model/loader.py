"""Load a snapshot or a model folder as a detector."""

from pathlib import Path

import torch

from detmake.detections import Detector
from detmake.model.detector import SnapshotDetector
from detmake.model.snapshot import Snapshot
from detmake.runtime.inference import OpenvinoDetector


def load_for_speed(path: Path, threads: int) -> tuple[Detector, Detector]:
    """Load a model on this machine's CPU to measure its speed (`detmake.evaluation.speed`).

    Args:
        path: `weights.pth`, or a model folder (`detmake.runtime.model_folder`).
        threads: CPU threads.

    Returns:
        The detector for latency and the one for throughput; of a snapshot both are the same.
    """
    if path.is_dir():
        return tuple(OpenvinoDetector(path, threads, hint) for hint in ("LATENCY", "THROUGHPUT"))
    torch.set_num_threads(threads)
    detector = SnapshotDetector(Snapshot.load(path))
    return detector, detector
