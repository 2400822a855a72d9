"""The report of a built project, and of one that is not built."""

import re
import shlex
from html import unescape

import pandas as pd
import pytest
from pycocotools.coco import COCO

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reported(built_project, tmp_path_factory):
    """A project with a report. Not to be changed."""
    project = built_project.copy(tmp_path_factory.mktemp("reported") / "project")
    project.measure_briefly()
    output = project.snakemake("results/report.html")
    (project.folder / "output.txt").write_text(output, encoding="utf-8")
    return project


def test_the_report_of_a_build(reported):
    results = reported.folder / "results"
    html = (results / "report.html").read_text(encoding="utf-8")
    assert "Missing here" not in html
    for model, folder in (("snapshot", ""), ("IR", "openvino/"), (r"int8 \(POT\)", "pot/")):
        figures = reported.json(f"results/{folder}performance.json")
        row = re.search(rf'<tr><th scope="row" class="whole">{model}</th><td>([\d.]+)<br>', html)
        assert row[1] == f"{figures['f-measure']:.3f}"
    assert "int8 (NNCF)" not in html
    assert '<img class="batch"' in html
    assert '<img class="steps"' in html
    steps = re.findall(r'<th scope="row">([a-z ]+)</th><td>\d+:\d\d:\d\d', html)
    assert {"prepare dataset", "train", "export", "quantize pot", "evaluate ir"} <= set(steps)
    output = (reported.folder / "output.txt").read_text(encoding="utf-8")
    assert "quantize_nncf" not in output
    assert "Report: results/report.html" in output
    assert len(pd.read_csv(results / "speed.csv")) == 3


def test_the_suspects_are_in_a_table_and_a_coco_file(reported):
    results = reported.folder / "results"
    table = pd.read_csv(results / "suspects.csv")
    loaded = COCO(results / "suspects.json")
    assert len(loaded.anns) == len(table)
    assert {image["id"] for image in loaded.imgs.values()} == set(table.image_id)


def test_a_report_is_up_to_date_until_figures_change(reported, tmp_path):
    assert reported.stale("results/report.html") == {}
    project = reported.copy(tmp_path / "project")
    project.configure(postprocessing={"confidence_threshold": 0.9})
    again = {"evaluate_snapshot": 1, "evaluate_ir": 2, "report_run": 1}
    assert project.stale("results/report.html") == again


def test_a_report_of_what_there_is(template_project, reported, tmp_path):
    project = template_project.copy(tmp_path / "project")
    output = project.snakemake("report")
    command = "snakemake results/performance.json --configfile config.yaml"
    assert f"Missing: figures of the snapshot: {command}" in output
    assert (project.folder / "results/report-now.html").exists()
    assert not (project.folder / "results/weights.pth").exists()
    html = (project.folder / "results/report-now.html").read_text(encoding="utf-8")
    assert "<code>snakemake results/report.html --configfile config.yaml</code>" in html
    project.snakemake("report", "--config", "learning_parameters={seed: 7}", "template=yolox_tiny")
    html = (project.folder / "results/report-now.html").read_text(encoding="utf-8")
    command = shlex.split(unescape(re.search("<code>(snakemake results.*?)</code>", html)[1]))
    assert command[-3:] == ["--config", 'learning_parameters={"seed": "7"}', "template=yolox_tiny"]
    project = reported.copy(tmp_path / "other")
    (project.folder / "results/pot/openvino.bin").write_bytes(b"other weights")
    output = project.snakemake("report")
    assert "Missing: figures of the int8 (POT): results/pot/performance.json speaks of" in output
    html = (project.folder / "results/report-now.html").read_text(encoding="utf-8")
    assert '<th scope="row" class="whole">IR</th>' in html
    assert '<th scope="row" class="whole">int8 (POT)</th>' not in html
