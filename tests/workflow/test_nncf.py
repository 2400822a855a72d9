"""Quantization-aware training, and the accuracy budget of both quantization methods."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from test_interruption import process_of, wait_for

pytestmark = pytest.mark.slow

FILES = (
    "weights.pth",
    "openvino.xml",
    "openvino.bin",
    "config.json",
    "label_schema.json",
    "confidence_threshold",
    "performance.json",
)
TARGET = "results/nncf/performance.json"
RESTORED = "Restored from the store: results/nncf/weights.pth, trained on "
WIDE = {"stat_subset_size": 4, "num_iters": 3, "maximal_accuracy_degradation": 100}


def without_compiler(folder: Path) -> str:
    """Return a copy of the PATH without compilers and the tools that build extensions."""
    folder.mkdir()
    forbidden = re.compile(r"(.*-)?(c\+\+|g\+\+|gcc|cc|clang|clang\+\+|ninja|nvcc)(-[\d.]+)?$")
    for place in reversed(os.environ["PATH"].split(os.pathsep)):
        for program in Path(place).glob("*") if place else ():
            if not forbidden.match(program.name):
                (folder / program.name).unlink(missing_ok=True)
                (folder / program.name).symlink_to(program)
    return str(folder)


@pytest.fixture(scope="module")
def quantized(built_project, tmp_path_factory):
    """A built project with `results/nncf`, made without a compiler. Not to be changed."""
    folder = tmp_path_factory.mktemp("nncf")
    project = built_project.copy(folder / "project")
    project.configure(nncf_optimization=WIDE, evaluation={"subset": "val"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", without_compiler(folder / "bin"))
        assert shutil.which("c++") is None
        project.snakemake(TARGET, "results/performance.json")
    return project


def f_measures(project) -> dict[str, list[float]]:
    """The F-measures in the log, by what was measured."""
    log = (project.folder / "results/logs/nncf.log").read_text()
    found: dict[str, list[float]] = {}
    for what, value in re.findall(
        r"(when it was trained|loaded|After initialization|After epoch|After quantization-aware"
        r" training|As exported).*?(\d\.\d{4})",
        log,
    ):
        found.setdefault(what, []).append(float(value))
    return found


def test_the_model_folder_is_complete(quantized):
    for file in FILES:
        assert (quantized.folder / "results/nncf" / file).stat().st_size > 0
    assert (quantized.folder / "results/nncf/openvino.xml").read_text().count("FakeQuantize") > 50
    assert not (quantized.folder / "results/nncf_checkpoints").exists()
    assert quantized.stale(TARGET) == {}


def test_the_log_shows_the_accuracy_at_each_step(quantized):
    found = f_measures(quantized)
    evaluated = quantized.json("results/performance.json")["f-measure"]
    assert found["loaded"][0] == pytest.approx(evaluated, abs=0.001)
    assert found["when it was trained"] == found["loaded"]
    assert len(found["After epoch"]) == 1  # at least one is trained, and here one suffices
    log = (quantized.folder / "results/logs/nncf.log").read_text()
    assert re.search(r"drop -?\d+\.\d\d points \(-?\d+\.\d\d %\), budget 100 points", log)


def test_the_ir_is_as_accurate_as_the_quantized_snapshot(quantized):
    performance = quantized.json(TARGET)
    described = performance["quantization"]
    assert described["method"] == "quantization-aware training"
    assert described["epochs"] == 1
    assert described["within_budget"]
    found = f_measures(quantized)
    exported = described["f-measure_quantized"]
    assert found["As exported"] == [pytest.approx(exported, abs=1e-4)]
    assert exported == pytest.approx(found["After quantization-aware training"][0], abs=0.07)
    low, high = described["drop_interval_points"]
    assert low <= described["drop_points"] <= high
    # The test evaluates on the validation subset.
    config = quantized.json("results/nncf/config.json")
    assert performance["confidence_threshold"] == config["confidence_threshold"]
    assert performance["f-measure"] == pytest.approx(exported)


def test_it_comes_back_from_the_store(quantized, tmp_path):
    project = quantized.copy(tmp_path / "project")
    shutil.rmtree(project.folder / "results/nncf")
    project.snakemake(TARGET)
    assert RESTORED in (project.folder / "results/logs/nncf.log").read_text()
    for file in FILES[:-1]:
        restored, trained = (made.folder / "results/nncf" / file for made in (project, quantized))
        assert restored.read_bytes() == trained.read_bytes()


# A model beyond its budget

TRAINED = {"weights": "trained.pth"}
ANNOTATIONS = "data/train/_annotations.coco.json"
FEW = 6


@pytest.fixture(scope="module")
def coarse(built_project, tmp_path_factory):
    """The trained model, to be calibrated with one grey image: ranges are too narrow.

    Few images make short epochs; `all.json` lists the others, too.
    """
    project = built_project.copy(tmp_path_factory.mktemp("coarse") / "project")
    shutil.copy(project.folder / "results/weights.pth", project.folder / "trained.pth")
    coco = project.json(ANNOTATIONS)
    grey = {"id": -1, "file_name": "grey.png", "width": 160, "height": 120}
    coco["images"].insert(0, grey)
    (project.folder / "all.json").write_text(json.dumps(coco))
    del coco["images"][FEW:]
    listed = {image["id"] for image in coco["images"]}
    coco["annotations"] = [box for box in coco["annotations"] if box["image_id"] in listed]
    (project.folder / ANNOTATIONS).write_text(json.dumps(coco))
    cv2.imwrite(str(project.folder / "data/train/grey.png"), np.full((120, 160, 3), 128, np.uint8))
    project.configure(**TRAINED)
    project.snakemake("results/weights.pth")
    return project


def test_training_brings_the_model_back_within_its_budget(coarse, tmp_path):
    project = coarse.copy(tmp_path / "project")
    shutil.copy(project.folder / "all.json", project.folder / ANNOTATIONS)
    budget = {"stat_subset_size": 1, "num_iters": 40, "maximal_accuracy_degradation": 25}
    project.configure(**TRAINED, nncf_optimization=budget | {"learning_rate": 0.001})
    project.snakemake(TARGET)
    found = f_measures(project)
    original = found["loaded"][0]
    assert original - found["After initialization"][0] > 0.3
    assert original - found["After quantization-aware training"][0] <= 0.25
    assert len(found["After epoch"]) < 40  # it stopped once within the budget


def test_a_model_beyond_its_budget_is_refused_unless_on_degradation_is_warn(coarse, tmp_path):
    project = coarse.copy(tmp_path / "project")
    budget = {"stat_subset_size": 1, "num_iters": 2, "learning_rate": 1e-9}
    project.configure(**TRAINED, nncf_optimization=budget)
    output = project.snakemake(TARGET, fails=True)
    assert "The quantized model is beyond its budget" in output
    assert "nncf_optimization.on_degradation: warn" in output
    assert "Traceback" not in output
    assert not (project.folder / "results/nncf/openvino.xml").exists()

    # With a larger budget, one epoch would have been enough. The store is to have what it says.
    stored = list((project.folder / ".detmake/store").iterdir())
    project.configure(**TRAINED, nncf_optimization=budget | {"maximal_accuracy_degradation": 200})
    project.snakemake(TARGET)
    assert project.json(TARGET)["quantization"]["epochs"] == 2
    assert "Not stored: " in (project.folder / "results/logs/nncf.log").read_text()
    assert list((project.folder / ".detmake/store").iterdir()) == stored

    project.configure(**TRAINED, nncf_optimization=budget | {"on_degradation": "warn"})
    project.snakemake(TARGET)
    assert project.json(TARGET)["quantization"]["within_budget"] is False
    log = (project.folder / "results/logs/nncf.log").read_text()
    assert RESTORED in log
    assert "It is kept" in log

    project.configure(**TRAINED, nncf_optimization=budget)
    assert "beyond its budget" in project.snakemake(TARGET, fails=True)


def spoil_neck(weights: dict) -> None:
    """Make one channel of the neck so large that int8 has no levels left for the others.

    The next layer makes it small again, so nothing changes in floating point.
    """
    for name, values in weights.items():
        if name.startswith("neck.lateral_convs."):
            values[0] *= 1_000
        elif re.fullmatch(r"neck\.fpn_convs\.[012]\.conv\.weight", name):
            values[:, 0] /= 1_000


def test_post_training_quantization_returns_layers_to_floating_point(built_project, tmp_path):
    project = built_project.copy(tmp_path / "project")
    snapshot = torch.load(project.folder / "results/weights.pth")
    spoil_neck(snapshot["state_dict"])
    torch.save(snapshot, project.folder / "spoiled.pth")
    project.configure(
        weights="spoiled.pth",
        evaluation={"subset": "val"},
        pot_parameters={
            "preset": "performance",
            "stat_subset_size": 4,
            "maximal_accuracy_degradation": 10,
        },
    )
    project.snakemake("results/pot/performance.json", "results/openvino/performance.json")
    described = project.json("results/pot/performance.json")["quantization"]
    assert 0 < described["reverted_layers"] < 20
    assert described["within_budget"]
    assert described["tried"][0]["reverted_layers"] == 0
    assert described["tried"][0]["drop_points"] > 30
    assert len(described["tried"]) <= 9
    log = (project.folder / "results/logs/pot.log").read_text()
    assert f"Returned {described['reverted_layers']} layers to floating point: " in log


# Speed


def test_the_benchmark_measures_every_model(quantized, tmp_path):
    project = quantized.copy(tmp_path / "project")
    project.measure_briefly()
    project.snakemake("benchmark")
    speed = pd.read_csv(project.folder / "results/benchmark.csv", index_col="model")
    assert list(speed.index) == ["snapshot", "IR", "int8 (POT)", "int8 (NNCF)"]
    assert (speed["latency_ms"] <= speed["latency_p95_ms"]).all()
    assert (speed["images_per_second"] > 0).all()
    assert speed["share"].isna().tolist() == [True, False, False, False]
    # The throughput of benchmark_app is in images per second, too.
    assert speed["share"].drop("snapshot").between(0.02, 20).all()
    text = (project.folder / "results/benchmark.md").read_text()
    assert "| int8 (NNCF) " in text
    assert "nan" not in text
    assert "results/dataset/val.json" in text


# The script for a GPU


def test_the_script_for_a_gpu_reports_every_model(quantized, tmp_path):
    """Here it runs on the CPU. Its table has the accuracy of each built model."""
    project = quantized.copy(tmp_path / "project")
    script = [sys.executable, ROOT / "benchmarks/gpu.py", "--device", "cpu", "--results", "results"]
    process = subprocess.run(
        [*script, "--", "--configfile", "config.yaml"],
        cwd=project.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    for name, folder in {"snapshot": "", "IR": "openvino/", "NNCF": "nncf/"}.items():
        f_measure = project.json(f"results/{folder}performance.json")["f-measure"]
        row = re.search(rf"\| {name} +\| +([\d.]+)", process.stdout)
        assert float(row[1]) == pytest.approx(f_measure, abs=1e-4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_script_for_a_gpu_says_that_there_is_none(tmp_path):
    command = [sys.executable, ROOT / "benchmarks/gpu.py"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 1
    assert "finds no GPU" in process.stderr
    assert not list(tmp_path.iterdir())


# Interruption


def test_a_killed_quantization_aware_training_resumes(coarse, tmp_path):
    project = coarse.copy(tmp_path / "project")
    project.configure(
        **TRAINED,
        nncf_optimization={
            "stat_subset_size": 1,
            "num_iters": 4,
            "learning_rate": 1e-9,
            "on_degradation": "warn",
        },
    )
    process = project.start(TARGET)
    wait_for(project, "nncf.log", "Saving checkpoint at 2 epochs")
    os.kill(process_of(process, "quantize_nncf"), signal.SIGKILL)
    process.communicate(timeout=60)
    project.snakemake(TARGET)
    log = (project.folder / "results/logs/nncf.log").read_text()
    assert "Calibrating" not in log
    assert re.search(r"resumed epoch: [1-3]", log)
    assert not (project.folder / "results/nncf_checkpoints").exists()
