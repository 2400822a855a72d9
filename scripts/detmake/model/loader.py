"""Load a snapshot or a model folder as a detector."""

from pathlib import Path

import torch

from detmake.detections import Detector
from detmake.model.detector import SnapshotDetector
from detmake.model.snapshot import Snapshot
from detmake.runtime.inference import OpenvinoDetector


def load_for_speed(path: Path, threads: int, device: str) -> tuple[Detector, Detector]:
    """Load a model to measure its speed (`detmake.runtime.speed`); a snapshot runs on the CPU.

    Args:
        path: `weights.pth`, or a model folder (`detmake.runtime.model_folder`).
        threads: CPU threads.
        device: the device of OpenVINO that runs a model folder.

    Returns:
        The detector for latency and the one for throughput; of a snapshot both are the same.
    """
    if path.is_dir():
        hints = ("LATENCY", "THROUGHPUT")
        return tuple(OpenvinoDetector(path, threads, hint, device) for hint in hints)
    torch.set_num_threads(threads)
    detector = SnapshotDetector(Snapshot.load(path))
    return detector, detector
