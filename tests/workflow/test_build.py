"""The files that a build makes, and whether they agree."""

import json
import re
import shutil

import cv2
import openvino as ov
import pandas as pd
import pytest
import torch
from conftest import CONFIG, DISC, SQUARE

from detmake.evaluation import predictions
from detmake.evaluation.metrics import Evaluation

MODELS = ("openvino", "pot")


def test_the_default_build_makes_all_its_files(built_project):
    results = built_project.folder / "results"
    for file in ("weights.pth", "performance.json", "logs/train.log"):
        assert (results / file).stat().st_size > 0
    for model in MODELS:
        for file in ("openvino.xml", "openvino.bin", "config.json", "performance.json"):
            assert (results / model / file).stat().st_size > 0
    snapshot, exported, *int8 = (
        float((results / folder / "confidence_threshold").read_text()) for folder in ("", *MODELS)
    )
    assert snapshot == exported
    assert all(0 < threshold < 1 for threshold in int8)  # of their own
    schemas = {(results / folder / "label_schema.json").read_text() for folder in ("", *MODELS)}
    assert [json.loads(schema)["labels"] for schema in schemas] == [
        [{"id": 0, "name": SQUARE}, {"id": 1, "name": DISC}]
    ]
    assert not (results / "checkpoints").exists()


def test_a_second_call_has_nothing_to_do(built_project):
    assert "Nothing to be done" in built_project.snakemake()


def test_the_snapshot_holds_tensors_and_plain_values_only(built_project):
    snapshot = torch.load(built_project.folder / "results/weights.pth", weights_only=True)
    assert snapshot["labels"] == [SQUARE, DISC]
    assert snapshot["input_size"] == [128, 96]
    assert snapshot["model"]["bbox_head"]["num_classes"] == 2


def test_the_logs_show_the_progress_of_training(built_project):
    logs = built_project.folder / "results/logs"
    scalars = pd.read_csv(logs / "scalars.csv")
    epochs = CONFIG["learning_parameters"]["num_iters"]
    assert scalars.query("kind == 'train'").step.max() == epochs * 4
    assert scalars.query("kind == 'validation'")["f-measure"].notna().all()
    assert scalars.query("kind == 'train'").loss.iloc[-1] < scalars.loss.iloc[0]
    log = (logs / "train.log").read_text()
    assert "eta: " in log
    assert re.search(r"\| class +\| +gts \| +dets \| +recall \| +ap \|", log)
    table = pd.read_csv(logs / "per_class.csv", index_col="class")
    validation = built_project.json("results/dataset/val.json")
    assert table.ground_truths.sum() == len(validation["annotations"])


@pytest.mark.parametrize("folder", ["results", *(f"results/{model}" for model in MODELS)])
def test_performance_is_measured_on_the_test_subset(built_project, folder):
    performance = built_project.json(f"{folder}/performance.json")
    subset = built_project.json("results/dataset/test.json")
    assert performance["images"] == len(subset["images"]) == 6
    assert performance["ground_truths"] == len(subset["annotations"])
    precision, recall = performance["precision"], performance["recall"]
    assert performance["f-measure"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert performance["images_per_second"] > 0
    found = predictions.read(built_project.folder / folder / "predictions.json")
    again = Evaluation(subset, found)
    assert again.counts(performance["confidence_threshold"]).precision == precision
    assert again.average_precision() == pytest.approx(performance["mAP"])


@pytest.mark.parametrize("model", MODELS)
def test_the_ir_runs_in_openvino_alone(built_project, model):
    """OpenVINO alone turns an image of any size into boxes, scores and labels."""
    folder = built_project.folder / "results" / model
    compiled = ov.Core().compile_model(folder / "openvino.xml", "CPU")
    image = cv2.imread(str(built_project.folder / "data/test/image 0.png"))
    for shape in ((160, 120), (333, 77)):
        found = compiled(cv2.resize(image, shape)[None])
        boxes, scores, labels = (found[name] for name in ("bboxes", "scores", "labels"))
        assert boxes.shape == (1, scores.shape[1], 4)
        assert scores.shape == labels.shape
        assert boxes.min() >= 0
        assert boxes.max() <= 1
        assert set(labels.ravel()) <= {0, 1}
        assert (scores[0, 1:] <= scores[0, :-1]).all()


def test_int8_weights_are_smaller(built_project):
    results = built_project.folder / "results"
    half = (results / "openvino/openvino.bin").stat().st_size
    assert (results / "pot/openvino.bin").stat().st_size < 0.7 * half
    quantized = (results / "pot/openvino.xml").read_text()
    assert quantized.count('type="FakeQuantize"') > 50


def test_inspect_describes_the_dataset_without_training(project):
    """Two images of train are in val, too. val is used as test, which is no leak."""
    for number in range(2):
        name = f"image {number}.png"
        shutil.copy(project.folder / "data/train" / name, project.folder / "data/valid" / name)
    data = {
        "train": {"ann-files": "data/train/_annotations.coco.json"},
        "val": {"ann-files": "data/valid/_annotations.coco.json"},
    }
    project.configure(data=data)
    printed = project.snakemake("inspect")
    assert (project.folder / "results/dataset/statistics.md").read_text() in printed
    found = project.json("results/dataset/statistics.json")
    assert {name: part["images"] for name, part in found["subsets"].items()} == {
        "train": 16,
        "val": 6,
    }
    leaks = (
        "images that the train subset has, too (leaks): 2 (image 0.png (image 0.png), image 1.png"
    )
    assert leaks in " ".join(project.json("results/dataset/val.json")["info"]["remarks"])
    assert found["leaks"] == [
        [f"{subset}/image {number}.png" for subset in ("train", "val")] for number in range(2)
    ]
    # Squares of at least 26 pixels in images of 160×120, resized to 128×96.
    assert 26 * 0.8 <= found["classes"][SQUARE]["shorter_side"]["0.05"] < 40 * 0.8
    assert project.stale("inspect") == {"inspect": 1}
    assert not (project.folder / "results/weights.pth").exists()


@pytest.mark.slow
def test_a_run_is_built_beside_the_base_run(built):
    """The base run stays up to date."""
    learning = {"num_iters": 2, "batch_size": 8}
    built.configure(runs={"short": {"learning_parameters": learning}})
    assert built.stale() == {}
    target = "results/short/openvino/performance.json"
    built.snakemake(target)
    assert built.json(target)["images"] == 6
    assert built.stale(target) == {}
    assert built.stale() == {}
    assert "MissingRule" in built.snakemake("results/long/weights.pth", fails=True)


@pytest.mark.slow
def test_training_stops_early_when_validation_no_longer_improves(built_project, project):
    learning = {
        "learning_rate": 1e-7,
        "learning_rate_schedule": "plateau",
        "learning_rate_patience": 1,
        "enable_early_stopping": True,
        "early_stop_patience": 3,
        "use_adaptive_interval": False,
    }
    project.configure(
        pretrained=str(built_project.folder / "results/weights.pth"),
        learning_parameters=CONFIG["learning_parameters"] | learning,
    )
    project.snakemake("results/weights.pth")
    scalars = pd.read_csv(project.folder / "results/logs/scalars.csv")
    validations = scalars.query("kind == 'validation'")
    assert 4 <= len(validations) < CONFIG["learning_parameters"]["num_iters"]
    rates = scalars.query("kind == 'train'").lr
    assert rates.iloc[-1] == pytest.approx(rates.max() / 10, rel=0.01)  # lowered at least once


@pytest.mark.slow
def test_a_seed_makes_a_training_repeatable(project):
    learning = CONFIG["learning_parameters"] | {"num_iters": 2}
    runs = {"again": {}, "other": {"learning_parameters": {"seed": 1}}}
    project.configure(learning_parameters=learning, runs=runs)
    project.fork_scripts = False
    files = [f"results/{run}weights.pth" for run in ("", "again/", "other/")]
    project.snakemake(*files)
    first, again, other = (
        torch.load(project.folder / file, weights_only=True)["state_dict"] for file in files
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.slow
def test_the_folder_of_results_may_have_spaces_quotes_and_accents(project):
    results = """mes résultats/it's "mine\""""
    project.configure(results=results)
    project.measure_briefly()
    files = ("deploy/pot.zip", "demo", "comparison.md", "report.html")
    targets = ["all", "benchmark", *(f"{results}/{file}" for file in files)]
    project.snakemake(*targets)
    assert (project.folder / results / "pot/openvino.xml").exists()
    assert not (project.folder / "results").exists()
    assert project.stale(*targets) == {}
    assert f"{results}/pot/performance.json: ok" in project.snakemake("verify")
    project.configure(results=results, input_size=[160, 128])
    assert project.stale(*targets)["train"] == 1
