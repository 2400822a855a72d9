"""Results without `.snakemake/`, such as copied ones: a change is seen all the same."""

import os
import shutil

import pytest
from conftest import CONFIG
from test_staleness import EVALUATE, TRAIN

SLOWER = {"learning_parameters": CONFIG["learning_parameters"] | {"learning_rate": 0.001}}


def test_results_without_records(built):
    shutil.rmtree(built.folder / ".snakemake")
    assert built.stale() == {}
    shutil.rmtree(built.folder / ".snakemake")
    built.configure(**SLOWER)
    assert built.stale() == TRAIN
    assert "learning_parameters.learning_rate: 0.001" in built.snakemake("--dry-run")


def test_each_result_is_recorded(built_project):
    weights = {"weights.pth", "label_schema.json", "confidence_threshold", "logs/scalars.csv"}
    subsets = {f"dataset/{subset}.json" for subset in ("train", "val", "test")}
    models = {f"{model}/openvino.bin" for model in ("openvino", "pot")}
    figures = {
        f"{folder}{file}.json"
        for folder in ("", "openvino/", "pot/")
        for file in ("performance", "predictions")
    }
    recorded = built_project.json("results/provenance.json")
    expected = weights | subsets | models | figures
    assert expected <= {path.removeprefix("<results>/") for path in recorded}


@pytest.mark.slow
def test_results_of_a_snakemake_that_was_killed(built):
    """It did not write their records, and the next call does."""
    files = [built.folder / "results/provenance.json"]
    files += (built.folder / ".snakemake/provenance").rglob("*.json")
    before = [(file, file.read_bytes(), file.stat().st_mtime_ns) for file in files]
    mixed = {"pot_parameters": CONFIG["pot_parameters"] | {"preset": "mixed"}}
    built.configure(**mixed)
    built.snakemake("results/pot/openvino.xml")
    for file, content, time in before:
        file.write_bytes(content)
        os.utime(file, ns=(time, time))
    assert built.stale("results/pot/openvino.xml") == {}
    shutil.rmtree(built.folder / ".snakemake")
    assert built.stale("results/pot/openvino.xml") == {}
    built.configure()
    assert built.stale("results/pot/openvino.xml") == {"quantize_pot": 1}


def test_results_behind_a_link(built):
    (built.folder / "results/pot").rename(built.folder / "elsewhere")
    (built.folder / "results/pot").symlink_to(built.folder / "elsewhere")
    (built.folder / "results/provenance.json").unlink()
    shutil.rmtree(built.folder / ".snakemake/provenance")
    assert built.stale() == {}
    shutil.rmtree(built.folder / ".snakemake")
    built.configure(pot_parameters=CONFIG["pot_parameters"] | {"preset": "mixed"})
    assert built.stale("results/pot/openvino.xml") == {"quantize_pot": 1}


def test_results_copied_without_times(template_project, built_project, tmp_path):
    """To a folder of another name, in another project."""
    project = template_project.copy(tmp_path / "project")
    copied = project.folder / "copied"
    shutil.copytree(built_project.folder / "results", copied, copy_function=shutil.copyfile)
    # The newest files are those that the others were made from.
    for file in ("weights.pth", "dataset/train.json"):
        (copied / file).write_bytes((copied / file).read_bytes())
    project.configure(results="copied")
    assert project.stale() == {}
    project.configure(results="copied", postprocessing={"confidence_threshold": 0.9})
    assert project.stale() == EVALUATE


@pytest.mark.slow
def test_tables_of_copied_results(built):
    built.measure_briefly()
    built.snakemake("results/comparison.md", "benchmark")
    shutil.copytree(built.folder / "results", built.folder / "copied")
    built.configure(results="copied")
    assert built.stale("copied/comparison.md", "copied/benchmark.md") == {}


@pytest.mark.slow
def test_results_restored_over_newer_ones(built):
    """The records that Snakemake has are those of the newer results."""
    backup = built.folder / "backup"
    shutil.copytree(built.folder / "results", backup)
    built.configure(pot_parameters=CONFIG["pot_parameters"] | {"preset": "mixed"})
    built.snakemake("results/pot/openvino.xml")
    shutil.rmtree(built.folder / "results")
    backup.rename(built.folder / "results")
    assert built.stale("results/pot/openvino.xml") == {"quantize_pot": 1}


def test_a_replaced_result_is_taken_as_it_is(built):
    shutil.rmtree(built.folder / ".snakemake")
    with (built.folder / "results/pot/openvino.bin").open("ab") as file:
        file.write(b"other weights")
    built.configure(pot_parameters=CONFIG["pot_parameters"] | {"preset": "mixed"})
    assert built.stale("results/pot/openvino.bin") == {}


def test_a_damaged_record(built):
    (built.folder / "results/provenance.json").write_text("{")
    output = built.snakemake(fails=True)
    assert "results/provenance.json: expected what the results were made from" in output
    assert "Traceback" not in output
