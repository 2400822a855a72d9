"""The tables of the comparison and the benchmark, by hand."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from test_metrics import RED, detections
from test_metrics import subset as prepared

from detmake.evaluation import bootstrap, predictions
from detmake.report import charts, comparison

BOX = (0, 0, 20, 20)
FOUND = detections((RED, BOX, 0.9))
#: What each model finds of the red object in each of 8 images, whose F-measure is in its figures.
SNAPSHOT = {image: FOUND for image in range(8)}
IR = {image: FOUND for image in range(7)}
OTHER = {0: FOUND}


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 200)


@pytest.fixture
def models(tmp_path):
    """A snapshot and a model folder of one run, and a snapshot of another."""
    subset = tmp_path / "test.json"
    subset.write_text(json.dumps(prepared({image: [(RED, BOX)] for image in range(8)})))

    def performance(name, f_measure, found):
        path = tmp_path / name / "performance.json"
        path.parent.mkdir()
        predictions.write(path.with_name("predictions.json"), found)
        content = {
            "f-measure": f_measure,
            "precision": 0.9,
            "recall": 0.8,
            "at_validated_threshold": {"f-measure": 0.1},
            "model": "a figure that has the name of a column",
            "mAP50": 0.93125,
            "mAP": 0.68474,
            "images_per_second": 7.0,
            "annotations": "cells/test.json",
            "confidence_threshold": 0.5,
            "sha256": {"subset": {"test.json": "01ab"}},
        }
        path.write_text(json.dumps(content))
        return str(path)

    weights = tmp_path / "weights.pth"
    weights.write_bytes(bytes(11_200_000))
    (tmp_path / "performance.txt").write_bytes(bytes(5_000_000))
    folder = tmp_path / "openvino"
    folder.mkdir()
    (folder / "openvino.xml").write_bytes(bytes(400_000))
    (folder / "openvino.bin").write_bytes(bytes(2_000_000))
    (folder / "config.json").write_bytes(bytes(700_000))
    other = tmp_path / "other.pth"
    other.write_bytes(bytes(1_000_000))

    def model(run, template, name, path, performance):
        return {
            "run": run,
            "template": template,
            "model": name,
            "path": str(path),
            "performance": performance,
            "subset": str(subset),
        }

    return [
        model("results", "ATSS", "snapshot", weights, performance("a", 0.94551, SNAPSHOT)),
        model("results", "ATSS", "IR", folder, performance("b", 0.94449, IR)),
        model("other", "SSD", "snapshot", other, performance("c", 0.5, OTHER)),
    ]


@pytest.fixture
def speed(models):
    """In another order than the models."""
    paths = [models[2]["path"], models[0]["path"], models[1]["path"]]
    return pd.DataFrame(
        {"latency_ms": [30.26, 59.31, 14.62], "images_per_second": [33.04, 17.07, 129.42]},
        index=pd.Index(paths, name="model"),
    )


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_for_each_model_in_the_order_given(models, speed):
    expected = pd.DataFrame(
        {
            "run": ["results", "results", "other"],
            "template": ["ATSS", "ATSS", "SSD"],
            "model": ["snapshot", "IR", "snapshot"],
            "f-measure": [0.94551, 0.94449, 0.5],
            "mAP50": [0.93125] * 3,
            "mAP": [0.68474] * 3,
            "subset": ["cells/test.json (test)"] * 3,
            "subset_sha256": ["01ab"] * 3,
            "size_mb": [11.2, 2.4, 1.0],
            "latency_ms": [59.31, 14.62, 30.26],
            "images_per_second": [17.07, 129.42, 33.04],
        }
    )
    table = comparison.table(models, speed)
    pd.testing.assert_frame_equal(table[expected.columns], expected)


def test_each_figure_has_its_interval_and_the_best_model_is_the_reference(models, speed):
    """Of 8 images, the IR misses one object and the other snapshot all but one."""
    table = comparison.table(models, speed)
    ends = table[["f-measure_low", "f-measure_high"]].to_numpy()
    assert ends[0] == pytest.approx([1, 1])
    assert ends[1][0] < 14 / 15 < ends[1][1] == 1
    assert 0 <= ends[2][0] < 2 / 9 < ends[2][1] < 0.9
    assert (table["mAP50_low"] <= table["mAP50_high"]).all()
    assert (table["mAP_low"] <= table["mAP_high"]).all()
    assert table["against_best"][0] == "reference"
    assert table["against_best"][1].endswith("to 0.0): within noise")
    assert table["against_best"][2].endswith(": beyond noise")


@pytest.mark.parametrize(
    ("subset", "named"),
    [
        ("val", ["cells/test.json (test)", "cells/test.json (val)"]),
        (
            "test",
            ["cells/test.json (test), SHA-256 01ab…", "cells/test.json (test), SHA-256 45cd…"],
        ),
    ],
)
def test_models_on_other_images_are_not_compared(models, speed, tmp_path, subset, named):
    """All subsets of a YOLO dataset have one annotation file, and so have splits of all seeds."""
    file = Path(models[0]["performance"])
    other = {"sha256": {"subset": {f"{subset}.json": "45cd"}}}
    file.write_text(json.dumps(json.loads(file.read_text()) | other))
    table = comparison.table(models, speed)
    assert list(table["against_best"] == "reference") == [1, 1, 0]
    _, lines = write(table, tmp_path)
    column = cells(lines[0]).index("subset")
    assert [cells(line)[column] for line in lines[2:5]] == [named[1], named[0], named[0]]
    assert "do not compare" in lines[6]
    # On one chart, no line joins the two best ones, each of which has a line of one point.
    root = ElementTree.parse(tmp_path / "comparison.svg").getroot()
    joining = [path for path in root.iter() if "stroke-opacity: 0.4;" in path.get("style", "")]
    assert [path.get("d").split().count("L") for path in joining if path.get("clip-path")] == [0, 0]


def write(table, folder, conditions="Some CPU"):
    """Write a comparison; return its CSV and the lines of its Markdown."""
    files = {kind: folder / f"comparison.{kind}" for kind in ("csv", "md", "svg")}
    comparison.write(table, files, conditions)
    return files["csv"], files["md"].read_text(encoding="utf-8").splitlines()


def test_csv_has_all_columns_and_figures(models, speed, tmp_path):
    table = comparison.table(models, speed)
    csv, _ = write(table, tmp_path / "out")
    read = pd.read_csv(csv)
    pd.testing.assert_frame_equal(read, table, rtol=1e-5)


def test_markdown_is_readable(models, speed, tmp_path):
    conditions = "16 images of `test.json`, Some CPU, 2 threads"
    _, lines = write(comparison.table(models, speed), tmp_path, conditions)
    assert cells(lines[0]) == [
        "run",
        "template",
        "model",
        "F-measure",
        "mAP50",
        "mAP50:95",
        "F-measure against the best",
        "size [MB]",
        "latency [ms]",
        "throughput [images/s]",
    ]
    rows = [cells(line) for line in lines[2:5]]
    assert rows[0][3:7] == [
        "0.946 (1.000–1.000)",
        "0.931 (1.000–1.000)",
        "0.685 (1.000–1.000)",
        "reference",
    ]
    figures = [[*row[:3], *(cell.split()[0] for cell in row[3:6]), *row[7:]] for row in rows]
    assert figures == [
        ["results", "ATSS", "snapshot", "0.946", "0.931", "0.685", "11.2", "59.3", "17.1"],
        ["results", "ATSS", "IR", "0.944", "0.931", "0.685", "2.4", "14.6", "129.4"],
        ["other", "SSD", "snapshot", "0.500", "0.931", "0.685", "1.0", "30.3", "33.0"],
    ]
    assert lines[5] == ""
    assert "on `cells/test.json (test)`" in lines[6]
    assert conditions in lines[6]


def test_the_table_names_the_tiles_if_a_model_looks_at_them(models, speed, tmp_path):
    file = Path(models[2]["performance"])
    tiling = {"size": [416, 320], "overlap": 0.2, "whole_image": True}
    file.write_text(json.dumps(json.loads(file.read_text()) | {"tiling": tiling}))
    table = comparison.table(models, speed)
    assert list(table["tiles"]) == ["", "", "416×320"]
    _, lines = write(table, tmp_path)
    assert [cells(line)[3] for line in (lines[0], *lines[2:5])] == ["tiles", "", "", "416×320"]


def test_markdown_names_the_subset_of_each_row_where_there_are_several(models, speed, tmp_path):
    """All names look like numbers, and are none."""
    table = comparison.table(models, speed)
    table["run"], table["subset"] = ["007", "1e5", "12"], ["01", "01", "1e3"]
    table["subset_sha256"] = table["subset"]
    _, lines = write(table, tmp_path)
    rows = [cells(line) for line in (lines[0], *lines[2:5])]
    assert [[row[0], row[3], row[4].split()[0], row[-1]] for row in rows] == [
        ["run", "subset", "F-measure", "throughput [images/s]"],
        ["007", "01", "0.946", "17.1"],
        ["1e5", "01", "0.944", "129.4"],
        ["12", "1e3", "0.500", "33.0"],
    ]
    assert "01" not in lines[6]
    assert "Some CPU" in lines[6]


def split(folder, **subsets):
    """Write prepared subsets with images of these digests; return the path of `test`."""
    folder.mkdir()
    for name, digests in subsets.items():
        coco = {"images": [{"sha256": digest} for digest in digests]}
        (folder / f"{name}.json").write_text(json.dumps(coco))
    return str(folder / "test.json")


def test_figures_on_images_that_chose_the_weights_come_with_a_warning(models, speed, tmp_path):
    own = split(tmp_path / "own", train="ab", val="cd", test="ef")
    stand_in = split(tmp_path / "stand-in", train="ab", val="cd", test="cd")
    compared = [dict(models[0], subset=stand_in), dict(models[2], subset=own)]
    (said,) = comparison.warnings(compared)
    assert said.startswith("results: The figures are of the images that also chose the weights")
    val = str(Path(own).with_name("val.json"))
    everywhere = [dict(model, subset=val) for model in models]
    assert comparison.warnings(everywhere) == [said.removeprefix("results: ")]
    assert comparison.warnings([dict(models[0], subset=own)]) == []
    files = {kind: tmp_path / f"comparison.{kind}" for kind in ("csv", "md", "svg")}
    comparison.write(comparison.table(models, speed), files, "Some CPU", [said])
    assert f"\n\n**{said}**\n\n" in files["md"].read_text(encoding="utf-8")


def test_nothing_is_written_of_a_table_that_cannot_be(models, speed, tmp_path):
    table = comparison.table(models, speed).drop(columns="mAP")
    with pytest.raises(KeyError, match="mAP"):
        write(table, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_chart_joins_the_models_that_no_other_one_beats(models, speed, tmp_path):
    """The IR is the fastest one, and the first snapshot the most accurate one."""
    table = comparison.table(models, speed)
    _, lines = write(table, tmp_path)
    assert "![F-measure against latency](comparison.svg)" in lines
    root = ElementTree.parse(tmp_path / "comparison.svg").getroot()
    described = root.attrib["aria-label"]
    assert described.index("results IR 0.944 in 14.6 ms") < described.index("other snapshot 0.500")
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"snapshot", "IR", "results", "other", "F-measure"} <= set(texts)
    assert list(charts.best(table).model) == ["IR", "snapshot"]
    assert list(charts.best(table[table.model == "snapshot"]).run) == ["other", "results"]


def test_each_name_stands_above_the_axis_if_no_model_finds_anything():
    names = ["snapshot", "IR", "int8 (POT)", "int8 (NNCF)"]
    models = pd.DataFrame({"model": names, "latency_ms": [40, 20, 13, 10], "f-measure": [0.0] * 4})
    root = ElementTree.fromstring(charts.accuracy_against_latency(models))
    heights = {text.text: float(text.attrib["y"]) for text in root.iter() if text.tag == "text"}
    assert max(heights[name] for name in names) < heights["0.0"] - 5
    assert len({heights[name] for name in ("int8 (POT)", "int8 (NNCF)")}) == 2  # else they overlap


def test_a_benchmark(tmp_path):
    """The snapshot has no figures of benchmark_app."""
    table = pd.DataFrame(
        {
            "latency_ms": [59.31, 14.62],
            "latency_p95_ms": [61.0, 15.04],
            "images_per_second": [17.07, 129.42],
            "app_latency_ms": [np.nan, 14.0],
            "app_images_per_second": [np.nan, 130.0],
        },
        index=pd.Index(["snapshot", "IR"], name="model"),
    )
    csv, markdown = tmp_path / "benchmark.csv", tmp_path / "benchmark.md"
    text = comparison.write_benchmark(table, csv, markdown, "Some CPU")
    read = pd.read_csv(csv, index_col="model")
    pd.testing.assert_frame_equal(read.drop(columns="share"), table)
    assert read.share["IR"] == pytest.approx(129.42 / 130, rel=1e-5)
    lines = text.splitlines()
    assert cells(lines[0])[0] == "model"
    assert cells(lines[2]) == ["snapshot", "59.3", "61.0", "17.1", "–", "–", "–"]
    assert cells(lines[3]) == ["IR", "14.6", "15.0", "129.4", "14.0", "130.0", "1.00"]
    assert markdown.read_text(encoding="utf-8") == (
        f"{text}\n\nMedians, models in turns, on Some CPU.\n"
    )
