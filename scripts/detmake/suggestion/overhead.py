"""Measure on this machine what a build takes besides its epochs."""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from detmake.evaluation.matching import evaluate_subset
from detmake.quantization.recipes import LADDER, quantize
from detmake.runtime import openvino_core
from detmake.runtime.inference import OpenvinoDetector
from detmake.suggestion.choice import QUANTIZED_MODELS, Candidate, Overhead, Work

#: Jobs of a whole build that start with torch: training, evaluation of the snapshot, export.
STARTS_WITH_TORCH = 3
#: Others: three subsets, quantization, two evaluations, and Snakemake itself.
OTHER_STARTS = 7
#: Numbers of calibration images whose times tell what one image takes.
_FEW, _MORE = 4, 16


def measure(
    export: Callable[[], Path],
    coco: Mapping[str, Any],
    images: Sequence[Path],
    candidate: Candidate,
    work: Work,
    checked: float,
    threads: int,
) -> Overhead:
    """Measure start, export, quantization and inference, and add up a whole build.

    Args:
        export: exports the candidate's network, and returns its folder
            (`detmake.runtime.model_folder`).
        coco: a prepared subset with a few images.
        images: some images for calibration.
        candidate: the training.
        work: what there is to do.
        checked: seconds that it took to check the data.
        threads: CPU threads of inference.
    """
    started = time.perf_counter()
    folder = export()
    exported = time.perf_counter() - started
    detector = OpenvinoDetector(folder, threads, "THROUGHPUT")
    evaluate_subset(detector, coco, None)  # warms up
    inferred = _seconds(lambda: evaluate_subset(detector, coco, None)) / len(coco["images"])
    model = openvino_core.core().read_model(folder / "openvino.xml")
    few, more = (
        _seconds(lambda count=count: quantize(model, _cycle(images, count), LADDER[0]))
        for count in (_FEW, _MORE)
    )
    calibrated = max(more - few, 0) / (_MORE - _FEW)
    one_model = few + (work.calibration - _FEW) * calibrated + work.val * inferred
    with_torch = _start("import detmake.training.train")
    other = _start("import detmake.quantization.post_training")
    return Overhead(
        start=STARTS_WITH_TORCH * with_torch + OTHER_STARTS * other,
        data=checked,
        evaluation=(work.val + work.test) * candidate.validated_image + 2 * work.test * inferred,
        export=exported,
        quantized_model=one_model,
        quantization=work.val * inferred + QUANTIZED_MODELS * one_model,
    )


def _cycle(images: Sequence[Path], count: int) -> list[Path]:
    return [images[index % len(images)] for index in range(count)]


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _start(code: str) -> float:
    """Return the seconds that a new process of Python takes for some imports."""
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"]
    return _seconds(lambda: subprocess.run(command, check=True, capture_output=True))
