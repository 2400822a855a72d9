"""Speed of exported models by OpenVINO's own benchmark_app."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from detmake.runtime.inference import LARGE

#: A new process that runs benchmark_app. It sends no telemetry either (`detmake/__init__.py`).
IMPORTS = """
import sys
sys.modules["openvino_telemetry"] = None
from openvino.tools.benchmark.main import main
"""
_ROUNDS = 3
_SECONDS = 2


def measure(
    models: Iterable[Path], image_size: Sequence[int], image: np.ndarray, threads: int, device: str
) -> pd.DataFrame:
    """Measure latency and throughput by benchmark_app, with models that take turns.

    Args:
        models: model folders (`detmake.runtime.model_folder`).
        image_size: width and height in pixels, to which the model's input is fixed.
        image: (H, W, 3) uint8, BGR: the image to infer, which is resized.
        threads: CPU threads.
        device: a device of OpenVINO, as for `detmake.runtime.inference`.

    Returns:
        Indexed by the folder as text: `app_latency_ms`, the median of one image at a time, and
        `app_images_per_second` of many at a time; each is the median over the rounds.

    Raises:
        RuntimeError: benchmark_app failed.
    """
    turns = [folder for _ in range(_ROUNDS) for folder in models]
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        # It takes some names for lists of files, and does not read all formats.
        file = Path(scratch, "image.png")
        cv2.imwrite(str(file), image)
        for folder in tqdm(turns, desc="benchmark_app", unit="turn", mininterval=2):
            alone = _run(folder, "latency", image_size, file, threads, device)
            many = _run(folder, "throughput", image_size, file, threads, device)
            rows.append(
                {
                    "model": str(folder),
                    "app_latency_ms": float(alone["latency (ms)"]),
                    "app_images_per_second": float(many["throughput"]),
                }
            )
    return pd.DataFrame(rows).groupby("model", sort=False).median()


def _run(
    folder: Path, hint: str, image_size: Sequence[int], image: Path, threads: int, device: str
) -> dict[str, str]:
    width, height = image_size
    with tempfile.TemporaryDirectory() as report:
        settings = Path(report) / "settings.json"  # it refuses -nthreads beside -hint
        settings.write_text(json.dumps({"CPU": {"INFERENCE_NUM_THREADS": threads}}))
        options = {
            "-m": folder / "openvino.xml",
            "-i": image,
            "-d": device,
            "-hint": hint,
            "-shape": f"[1,{height},{width},3]",
            "-infer_precision": "f32",  # as `detmake.runtime.inference` asks for
            "-load_config": settings,
            "-t": _SECONDS,
            "-report_type": "no_counters",
            "-report_folder": report,
            "-json_stats": "true",
            **({"-nireq": 1} if 3 * width * height > LARGE else {}),  # each takes gigabytes
        }
        arguments = [str(text) for item in options.items() for text in item]
        command = [sys.executable, "-c", f"{IMPORTS}main()", *arguments]
        process = subprocess.run(command, capture_output=True, text=True)
        if process.returncode:
            raise RuntimeError(f"benchmark_app failed:\n{process.stdout}\n{process.stderr}")
        content = json.loads((Path(report) / "benchmark_report.json").read_text())
    return content["execution_results"]
