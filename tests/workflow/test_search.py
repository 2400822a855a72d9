"""A search: trials that go on, one that fails, and a configuration that needs no search."""

import shutil

import pandas as pd
import pytest
import torch
import yaml
from conftest import CONFIG

pytestmark = pytest.mark.slow

RATE = "learning_parameters.learning_rate"
# Few trials, to save time: the tests of halving have more. Two numbers would be a range; these are
# choices, of which one diverges. Training is validated every 5 epochs.
SEARCH = {"trials": 2, "space": {RATE: [0.002, 1e12, 1e12]}, "rungs": [4, 15]}


@pytest.fixture(scope="module")
def searched(built_project, tmp_path_factory):
    """A project with a finished search. Not to be changed: copy it."""
    project = built_project.copy(tmp_path_factory.mktemp("searched") / "project")
    project.measure_briefly()
    project.configure(search=SEARCH)
    project.snakemake("search")
    return project


def table(project) -> pd.DataFrame:
    file = project.folder / "results/search/trials.csv"
    return pd.read_csv(file, dtype={"trial": str}).set_index("outcome")


def test_the_better_trial_goes_on_from_its_checkpoint(searched):
    best = table(searched).loc["best"]
    first = searched.json(f"results/search/1/{best.trial}/outcome.json")
    last = searched.json(f"results/search/2/{best.trial}/outcome.json")
    assert (first["epochs"], last["epochs"]) == (5, 15)
    log = (searched.folder / f"results/search/2/{best.trial}.log").read_text()
    assert "resumed epoch: 5" in log
    assert best[RATE] == 0.002
    assert best.epochs == 15
    assert best.int8 > 0.3
    assert best.latency_ms > 0
    assert sorted(path.name for path in (searched.folder / "results/search/2").iterdir()) == [
        *(f"{best.trial}{suffix}" for suffix in ("", ".json", ".log")),
    ]


def test_a_trial_that_fails_is_shown_with_its_reason(searched):
    failed = table(searched).loc["failed"]
    assert failed[RATE] == 1e12
    assert "Lower learning_parameters.learning_rate" in failed.failed
    assert "failed: " in (searched.folder / "results/search/trials.md").read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_machine_without_the_device_fails_no_trial(searched, tmp_path):
    project = searched.copy(tmp_path / "project")
    trial = project.folder / "results/search/1/00"
    shutil.rmtree(trial)
    output = project.snakemake("results/search/1/00", "--config", "device=cuda", fails=True)
    assert "device: found cuda" in output
    assert not trial.exists()


def test_the_best_configuration_needs_no_search(searched, tmp_path):
    project = searched.copy(tmp_path / "project")
    best = yaml.safe_load((project.folder / "results/search/best.yaml").read_text())
    assert not {"search", "runs"} & best.keys()
    assert best["learning_parameters"]["learning_rate"] == table(project).loc["best", RATE]
    shutil.copy(project.folder / "results/search/best.yaml", project.folder / "config.yaml")
    trained = project.folder / f"results/search/2/{table(project).loc['best'].trial}/weights.pth"
    expected = trained.read_bytes()
    project.snakemake("results/weights.pth")
    log = (project.folder / "results/logs/train.log").read_text()
    assert "Restored from the store: results/search/2/" in log
    assert (project.folder / "results/weights.pth").read_bytes() == expected


def test_what_is_stale(searched, tmp_path):
    project = searched.copy(tmp_path / "project")
    assert project.stale("search") == {}
    project.configure(search=SEARCH | {"at_most": {"latency_ms": 1000}})
    ranking = {"rank_trials": 1, "measure_finalists": 1, "conclude_search": 1, "search": 1}
    assert project.stale("search") == ranking
    project.configure(
        learning_parameters=CONFIG["learning_parameters"] | {"batch_size": 8}, search=SEARCH
    )
    assert project.stale("search")["try_trial"] == SEARCH["trials"]
    project.configure()
    assert "search: missing" in project.snakemake("search", fails=True)
