"""The evidence on templates: its tables by hand, the committed page, and what a call measures."""

import pandas as pd
import pytest
import template_files

import template_evidence
from template_evidence import EPOCHS, MEASURED, PACKAGES

MACHINE = {"cpu": "a CPU, 2 threads", "packages": "torch 2, openvino 3"}
FIGURES = dict(zip(MEASURED, (0.91, 0.95, 0.6, 0.001, 5.0, 7.0), strict=True))


def rows(*changes):
    """Return one row of evidence for each change of the first planned one."""
    first = {"date": "2026-11-30", "commit": "0123abc", **MACHINE, **FIGURES, "quiet": True}
    first |= template_evidence.planned()[0]
    return pd.DataFrame([first | change for change in changes])


def lines(evidence, template="yolox_nano_relu"):
    """Return the cells of a template's lines in the tables."""
    found = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in template_evidence.markdown(evidence).splitlines()
    ]
    return [cells for cells in found if cells[0] == f"`{template}`"]


def test_the_page_has_the_tables_of_the_committed_rows():
    page = template_evidence.PAGE.read_text(encoding="utf-8")
    written = page.split(template_evidence.START)[1].split(template_evidence.END)[0]
    assert written.strip() == template_evidence.markdown(template_evidence.read()).strip()


def test_every_template_is_trained_on_every_dataset():
    assert EPOCHS.keys() == {path.stem for path in template_files.FOLDER.glob("*.yaml")}
    assert all(epochs.keys() == template_evidence.DATASETS.keys() for epochs in EPOCHS.values())


def test_a_table_has_means_and_deviations_over_seeds():
    """(0.90, 0.92, 0.94) deviate by 0.02, and quiet times (5, 7) by √2."""
    evidence = rows(
        {"seed": 0, "f-measure": 0.90, "int8_ms": 5.0},
        {"seed": 1, "f-measure": 0.92, "int8_ms": 99.0, "quiet": False},
        {"seed": 2, "f-measure": 0.94, "int8_ms": 7.0, "int8_drop": -0.002},
    )
    (cells,) = lines(evidence)
    assert cells[1:4] == ["320×256", str(EPOCHS["yolox_nano_relu"]["cells"]), "3"]
    assert cells[4] == "0.920 ± 0.020"
    assert cells[7:] == ["0.000 ± 0.002", "6.0 ± 1.4", "7.0 ± 0.0"]
    table = template_evidence.markdown(evidence)
    assert "| `yolox_tiny`       | no evidence yet |" in table
    assert "bccd: no evidence yet." in table


def test_one_seed_has_no_deviation_and_a_busy_machine_no_times():
    (cells, *_) = lines(rows({"quiet": False}))
    assert cells[3:] == ["1", "0.910", "0.950", "0.600", "0.001", "–", "–"]


def test_accuracies_come_from_all_cpus_and_times_from_one():
    evidence = rows(
        {"seed": 0, "f-measure": 0.90, "int8_ms": 99.0, "cpu": "another"},
        {"seed": 0, "f-measure": 0.92, "int8_ms": 5.0},
        {"seed": 1, "f-measure": 0.94, "int8_ms": 5.0},
    )
    (cells,) = lines(evidence)
    assert cells[3:5] == ["2", "0.920 ± 0.020"]
    assert cells[8] == "5.0 ± 0.0"
    table = template_evidence.markdown(evidence)
    assert f"times on: {MACHINE['cpu']}" in table


@pytest.mark.parametrize("column", ["packages", "epochs", "input_size"])
def test_unlike_runs_share_no_line(column):
    other = {"epochs": 999}.get(column, "another")
    evidence = rows({}, {column: other, "f-measure": 0.5})
    measured = [cells[4] for cells in lines(evidence) if cells[1] != "no evidence yet"]
    assert measured == ["0.910", "0.500"]
    text = template_evidence.markdown(evidence)
    assert str(other) in text
    assert all(value in text for value in MACHINE.values())


def test_what_has_no_row_of_these_packages_is_missing():
    plan, packages = template_evidence.planned(), MACHINE["packages"]
    evidence = pd.concat([rows(plan[0]), rows({**plan[1], "cpu": "another"})])
    assert template_evidence.missing(evidence, packages) == plan[2:]
    assert template_evidence.missing(evidence, "torch 4") == plan
    assert template_evidence.missing(rows(*plan), packages) == []


def test_without_rows_everything_is_missing_and_the_page_says_so():
    nothing = rows()[[]].reindex(columns=rows({}).columns)
    assert template_evidence.missing(nothing, MACHINE["packages"]) == template_evidence.planned()
    assert "No evidence yet" in template_evidence.markdown(nothing)


def test_a_machine_names_its_cpu_and_packages():
    machine = template_evidence.this_machine()
    assert "threads" in machine["cpu"]
    assert all(f"{name} " in machine["packages"] for name in PACKAGES)
