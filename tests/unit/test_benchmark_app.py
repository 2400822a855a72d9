"""What benchmark_app is given, with a stand-in for its process."""

import json
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from detmake.evaluation import benchmark_app


def test_benchmark_app_reads_one_image_whatever_the_names_of_the_users_files(monkeypatch):
    """It splits names of images at commas, and takes what ends with a colon for an input."""
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    throughputs = iter([300, 100, 200, 60, 40, 50])  # models take turns
    calls = []

    def run(command, **_):
        options = dict(zip(command[3::2], command[4::2], strict=True))
        file = Path(options["-i"])
        assert not {",", ":"} & set(file.name)
        np.testing.assert_array_equal(cv2.imread(str(file)), image)
        calls.append((options["-m"], options["-hint"]))
        latency = {"latency": 4, "throughput": 9}[options["-hint"]]
        throughput = next(throughputs) if options["-hint"] == "throughput" else 1
        results = {"latency (ms)": str(latency), "throughput": str(throughput)}
        report = Path(options["-report_folder"], "benchmark_report.json")
        report.write_text(json.dumps({"execution_results": results}))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(benchmark_app.subprocess, "run", run)
    models = [Path("results, old/a:b"), Path("results/pot")]
    table = benchmark_app.measure(models, (8, 6), image, 2, "CPU")
    assert list(table.index) == list(map(str, models))
    assert list(table.app_latency_ms) == [4, 4]
    assert list(table.app_images_per_second) == [200, 60]
    assert calls[:4] == [
        (str(folder / "openvino.xml"), hint)
        for folder in models
        for hint in ("latency", "throughput")
    ]


def test_a_failure_has_what_benchmark_app_says(monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "step 3", "no such device")
    monkeypatch.setattr(benchmark_app.subprocess, "run", lambda *_, **__: failed)
    image = np.zeros((6, 8, 3), np.uint8)
    with pytest.raises(RuntimeError, match="step 3\nno such device"):
        benchmark_app.measure([Path("results/pot")], (8, 6), image, 2, "CPU")
