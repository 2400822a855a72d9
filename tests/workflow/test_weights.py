"""Weights that detmake did not train: pretrained ones and finished ones."""

import hashlib
import http.server
import os
import re
import shutil
import threading
from functools import partial

import pytest
import torch
import yaml
from conftest import CONFIG, ROOT

ONE_EPOCH = {"learning_parameters": CONFIG["learning_parameters"] | {"num_iters": 1}}


def replace_by_an_older_file(path):
    other = path.with_name("older")
    other.write_bytes(path.read_bytes() + b"other")
    os.utime(other, ns=(0, 0))
    other.rename(path)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A checkpoint of the template's detector for 80 classes, named as by OpenMMLab."""
    from detmake.model.network import build_detector, model_config

    folder = tmp_path_factory.mktemp("published")
    template = yaml.safe_load((ROOT / "templates/atss_mobilenetv2.yaml").read_text())
    torch.manual_seed(7)
    detector = build_detector(model_config(template["model"], 80))
    file = folder / "checkpoint.pth"
    torch.save({"meta": {"CLASSES": ["of", "COCO"]}, "state_dict": detector.state_dict()}, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return file.rename(folder / f"atss_coco-{digest[:8]}.pth")


@pytest.fixture
def server(published):
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=published.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.slow
def test_training_starts_from_downloaded_weights(project, server, published):
    project.configure(pretrained=f"{server}/{published.name}", **ONE_EPOCH)
    project.snakemake("results/weights.pth")
    assert (project.folder / "resources/pretrained" / published.name).exists()
    log = (project.folder / "results/logs/train.log").read_text()
    assert f"{published.name}: " in log
    assert "bbox_head.atss_cls" in log.split("Left out of it")[1]
    # The detector does not use the last layer of the backbone, so training does not change it.
    name = "backbone.conv2.conv.weight"
    trained = torch.load(project.folder / "results/weights.pth", weights_only=True)["state_dict"]
    original = torch.load(published, weights_only=True)["state_dict"]
    assert torch.equal(trained[name], original[name])
    assert project.stale("results/weights.pth") == {}


@pytest.mark.slow
def test_training_without_network_starts_from_a_file_put_there_by_hand(project, published):
    project.configure(pretrained=f"http://127.0.0.1:9/{published.name}", **ONE_EPOCH)
    folder = project.folder / "resources/pretrained"
    folder.mkdir(parents=True)
    shutil.copy(published, folder)
    assert "download_pretrained" not in project.stale("results/weights.pth")
    project.snakemake("results/weights.pth")
    assert "come from this file" in (project.folder / "results/logs/train.log").read_text()


def test_a_damaged_file_put_there_by_hand_is_refused(project, published):
    project.configure(pretrained=f"http://127.0.0.1:9/{published.name}", **ONE_EPOCH)
    folder = project.folder / "resources/pretrained"
    folder.mkdir(parents=True)
    (folder / published.name).write_bytes(published.read_bytes()[:-1])
    output = project.snakemake("results/weights.pth", fails=True)
    assert f"resources/pretrained/{published.name}" in output
    assert "SHA-256" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_without_network_the_message_says_where_to_put_the_file(project):
    project.configure(pretrained="http://127.0.0.1:9/weights-01234567.pth")
    output = project.snakemake("resources/pretrained/weights-01234567.pth", fails=True)
    assert "put the file at resources/pretrained/weights-01234567.pth by hand" in output
    assert "pretrained: null" in output
    assert "Traceback" not in output
    assert not list((project.folder / "resources").glob("pretrained/*"))


def test_a_damaged_download_is_refused(project, server, published):
    other = published.with_name("other-00000000.pth")
    shutil.copy(published, other)
    project.configure(pretrained=f"{server}/{other.name}")
    output = project.snakemake(f"resources/pretrained/{other.name}", fails=True)
    assert "SHA-256" in output
    assert not (project.folder / "resources/pretrained" / other.name).exists()


@pytest.mark.slow
def test_training_starts_from_a_file_of_ones_own(project, published):
    shutil.copy(published, project.folder / "own.pth")
    project.configure(pretrained="own.pth", **ONE_EPOCH)
    project.snakemake("results/weights.pth")
    assert "own.pth: " in (project.folder / "results/logs/train.log").read_text()
    project.configure(pretrained="other.pth", **ONE_EPOCH)
    output = project.snakemake("results/weights.pth", fails=True)
    assert "pretrained: other.pth does not exist" in output
    project.configure(pretrained="own.pth", **ONE_EPOCH)
    assert project.stale("results/weights.pth") == {}
    replace_by_an_older_file(project.folder / "own.pth")
    assert project.stale("results/weights.pth") == {"train": 1}


# Finished weights


@pytest.fixture(scope="module")
def adopted(built_project, tmp_path_factory):
    """Runs that use the built snapshot instead of training: as it is, and as a checkpoint.

    A checkpoint does not say the scale of its anchors: a template does.
    """
    project = built_project.copy(tmp_path_factory.mktemp("adopted") / "project")
    shutil.copy(project.folder / "results/weights.pth", project.folder / "mine.pth")
    snapshot = torch.load(project.folder / "mine.pth", weights_only=True)
    torch.save({"state_dict": snapshot["state_dict"]}, project.folder / "checkpoint.pth")
    template = yaml.safe_load((ROOT / "templates/atss_mobilenetv2.yaml").read_text())
    fitted = snapshot["model"]["bbox_head"]["anchor_generator"]["octave_base_scale"]
    template["model"]["bbox_head"]["anchor_generator"]["octave_base_scale"] = fitted
    (project.folder / "fitted.yaml").write_text(yaml.safe_dump(template))
    checkpoint = {"weights": "checkpoint.pth", "template": "fitted.yaml"}
    shutil.copytree(project.folder / "results/logs", project.folder / "results/mine/logs")
    project.configure(runs={"mine": {"weights": "mine.pth"}, "checkpoint": checkpoint})
    return project


@pytest.mark.slow
def test_finished_weights_are_evaluated_exported_and_quantized(adopted):
    targets = [
        "results/mine/pot/performance.json",
        *(f"results/{run}/performance.json" for run in ("mine", "checkpoint")),
    ]
    output = adopted.snakemake(*targets)
    assert "Training" not in output
    for target in targets:
        built, taken = (
            adopted.json(file) for file in (re.sub("mine/|checkpoint/", "", target), target)
        )
        for performance in (built, taken):
            performance.pop("images_per_second")
            performance.pop("sha256")  # of files that differ, though the weights do not
        assert built == taken
    thresholds = {
        (adopted.folder / f"results/{run}confidence_threshold").read_text()
        for run in ("", "mine/", "checkpoint/")
    }
    assert len(thresholds) == 1
    # The weights do not come from the run's earlier training.
    assert (adopted.folder / "results/logs/scalars.csv").exists()
    assert not (adopted.folder / "results/mine/logs/scalars.csv").exists()
    assert adopted.stale(*targets) == {}
    shutil.copytree(adopted.folder / "results", adopted.folder / "copied")
    runs = {"mine": {"weights": "mine.pth"}}
    adopted.configure(runs=runs, results="copied")
    assert adopted.stale("copied/mine/pot/performance.json") == {}
    adopted.configure(runs=runs)
    replace_by_an_older_file(adopted.folder / "mine.pth")
    assert adopted.stale("results/mine/weights.pth") == {"adopt_weights": 1}


@pytest.mark.slow
def test_finished_weights_that_do_not_fit_are_refused(built):
    shutil.copy(built.folder / "results/weights.pth", built.folder / "mine.pth")
    built.configure(runs={"other": {"weights": "mine.pth", "backbone": {"widen_factor": 0.5}}})
    output = built.snakemake("results/other/weights.pth", fails=True)
    assert "mine.pth: found weights of another network" in output
    assert "backbone.conv1.conv.weight [32, 3, 3, 3] instead of [16, 3, 3, 3]" in output
    assert "Traceback" not in output


def test_missing_finished_weights_are_refused(built):
    built.configure(runs={"other": {"weights": "nowhere.pth"}})
    output = built.snakemake("results/other/weights.pth", fails=True)
    assert "runs.other.weights: nowhere.pth does not exist" in output
    assert "Select jobs" not in output


def test_a_run_is_trained_when_its_finished_weights_are_removed_from_the_configuration(built):
    shutil.copy2(built.folder / "results/weights.pth", built.folder / "own.pth")
    built.configure(runs={"own": {"weights": "own.pth"}})
    built.snakemake("results/own/weights.pth")
    built.configure(runs={"own": {}})
    assert built.stale("results/own/weights.pth") == {"train": 1}
    shutil.copytree(built.folder / "results", built.folder / "copied")
    built.configure(results="copied", runs={"own": {}})
    assert built.stale("copied/own/weights.pth") == {"train": 1}
    built.configure(results="copied", runs={"own": {"weights": "own.pth"}})
    assert built.stale("copied/own/weights.pth") == {}
