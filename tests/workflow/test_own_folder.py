"""The build in a folder of the user's own, outside the clone."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import snakemake_process
import yaml
from conftest import CONFIG

DATASET = "results/dataset/train.json"
CODE_TRIGGER = "Snakemake's trigger `code` is on"


def snakemake(folder: Path, *arguments: str | Path, fails: bool = False) -> str:
    """Run Snakemake in a folder and return what it prints; it must fail if and only if `fails`."""
    environment = {**os.environ, "PYTHONPATH": "", "COLUMNS": "200"}
    options = [str(argument) for argument in arguments]
    code, output = snakemake_process.run(options, folder, environment, timeout=300)
    assert (code != 0) == fails, output
    return output


def files_in(folder: Path) -> dict[Path, int]:
    """All files with their modification times, except bytecode."""
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


@pytest.fixture
def clone(template_project) -> Path:
    """The workflow's folder, in which nothing may change."""
    before = files_in(template_project.folder)
    yield template_project.folder
    assert files_in(template_project.folder) == before


@pytest.fixture
def own(tmp_path, clone) -> Path:
    """A folder of the user's own, with a dataset."""
    folder = tmp_path / "own"
    shutil.copytree(clone / "data", folder / "data")
    return folder


def write_config(path: Path, **changes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(CONFIG | changes), encoding="utf-8")


def test_a_configuration_file_is_complete_and_its_paths_are_relative_to_the_folder(clone, own):
    write_config(own / "mine.yaml")
    write_config(own / "config/config.yaml", results="others", device="cpu")
    command = ["--snakefile", clone / "Snakefile", "--configfile", "mine.yaml"]
    assert CODE_TRIGGER not in snakemake(own, DATASET, *command)
    assert (own / DATASET).exists()
    assert "Nothing to be done" in snakemake(own, DATASET, *command)


def test_without_the_profile_the_build_says_once_that_times_of_scripts_count(clone, own):
    write_config(own / "mine.yaml")
    command = ["--workflow-profile", "none", "--cores", "1", "--configfile", "mine.yaml"]
    output = snakemake(own, DATASET, "--snakefile", clone / "Snakefile", *command)
    assert "Finished jobid" in output
    assert output.count(CODE_TRIGGER) == 1


def test_without_init_the_experiment_is_the_folders_own_or_the_default_one(clone, tmp_path):
    command = ["--snakefile", clone / "Snakefile", "--dry-run"]
    output = snakemake(tmp_path, *command)
    assert "Completing results:" in output
    assert "Drawing the embedded dataset cells: train" in output
    write_config(tmp_path / "config/config.yaml", data=str(clone / "data"), results="mine")
    output = snakemake(tmp_path, *command)
    assert "Completing mine:" in output
    assert "Drawing" not in output


def test_a_folder_that_moves_without_the_clone_does_not_download_again(clone, tmp_path):
    here, there = tmp_path / "deep/own", tmp_path / "own"
    write_config(here / "config/config.yaml", data="resources/bccd")
    made = here / "resources/bccd"
    target = "resources/bccd/train/_annotations.coco.json"
    for file in (made / "archive.zip", here / target, made / "train/images.sha256"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    command = [target, "--snakefile", clone / "Snakefile", "--cores", "1"]
    snakemake(here, *command, "--touch", "--forceall")
    here.rename(there)
    assert "Nothing to be done" in snakemake(there, *command, "--dry-run")


def test_after_init_snakemake_runs_bare(clone, tmp_path):
    output = snakemake(tmp_path, "--snakefile", clone / "Snakefile", "init")
    written = ("config/config.yaml", "profiles/default/config.yaml", "Snakefile")
    for name in written:
        assert f"Wrote {name}" in output
    shipped, profile = (
        yaml.safe_load((folder / "profiles/default/config.yaml").read_text(encoding="utf-8"))
        for folder in (clone, tmp_path)
    )
    assert profile == shipped | {"snakefile": str(clone / "Snakefile")}
    assert "Plan of the default target" in snakemake(tmp_path, "plan")
    assert (tmp_path / "results/plan.txt").exists()

    shutil.rmtree(tmp_path / "profiles")
    write_config(tmp_path / "config/config.yaml", data="nowhere", results="mine")
    kept = {name: (tmp_path / name).read_text() for name in ("config/config.yaml", "Snakefile")}
    output = snakemake(tmp_path, "--snakefile", clone / "Snakefile", "init")
    for name, text in kept.items():
        assert f"Kept {name}" in output
        assert (tmp_path / name).read_text() == text
    assert "data: nowhere does not exist" in snakemake(tmp_path, "--dry-run", fails=True)
    write_config(tmp_path / "config/config.yaml", data=str(clone / "data"), results="mine")
    output = snakemake(tmp_path, "--dry-run")
    assert "Completing mine:" in output
    assert CODE_TRIGGER not in output


@pytest.mark.slow
def test_suggest_writes_an_experiment_and_snakemake_runs_bare(clone, tmp_path):
    """Of one template, at an input size that trains in seconds; the times are measured."""
    shutil.copytree(clone / "data/train", tmp_path / "photos")
    own = tmp_path / "own"
    own.mkdir()
    command = ["--snakefile", clone / "Snakefile", "--cores", "1", "suggest"]
    # What it measures with counts, be it in the file or on the command line.
    write_config(own / "mine.yaml", device="cpu")
    command += ["--configfile", "mine.yaml", "--config", "data=../photos"]
    command += ["template=ssd_mobilenetv2", "input_size=[64, 64]", "minutes=2"]
    output = snakemake(own, *command)
    text = (own / "config/config.yaml").read_text(encoding="utf-8")
    assert text in output
    for name in ("config/config.yaml", "profiles/default/config.yaml", "Snakefile"):
        assert f"Wrote {name}" in output
    seconds = float(re.search(r"64×64 +([\d.]+) s an iteration", text)[1])
    assert 0.005 < seconds < 20
    minutes = float(re.search(r"Expected time of the whole build: ([\d.]+) minutes", text)[1])
    written = yaml.safe_load(text)
    assert written["data"]["source"] == "../photos"
    assert (written["input_size"], written["device"]) == ([64, 64], "cpu")
    assert written["pot_parameters"]["stat_subset_size"] == 4
    if written["learning_parameters"]["epochs"] > 1:
        assert minutes <= 2.1
    assert "Completing results:" in snakemake(own, "--dry-run")
    files = {subset: f"results/dataset/{subset}.json" for subset in ("train", "val", "test")}
    snakemake(own, *files.values())
    sizes = {
        subset: len(json.loads((own / file).read_text())["images"])
        for subset, file in files.items()
    }
    said = "Images: " + ", ".join(f"{count} {subset}" for subset, count in sizes.items())
    assert said in text


def test_suggest_overwrites_neither_an_experiment_nor_a_suggestion(clone, own):
    write_config(own / "config/config.yaml")
    text = (own / "config/config.yaml").read_text(encoding="utf-8")
    (own / "suggested.yaml").write_text("mine")
    output = snakemake(own, "--snakefile", clone / "Snakefile", "suggest", fails=True)
    assert "suggested.yaml is there, and is kept" in output
    assert (own / "suggested.yaml").read_text() == "mine"
    assert (own / "config/config.yaml").read_text(encoding="utf-8") == text


def test_suggest_names_a_wrong_path_before_it_measures(clone, tmp_path):
    command = ["--snakefile", clone / "Snakefile", "suggest", "--config", "data=nowhere"]
    assert "data: nowhere does not exist" in snakemake(tmp_path, *command, fails=True)
    assert not (tmp_path / "config").exists()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("pretrained=auto", "chooses it"),
        ("learning_parameters={seed: 1}", "chooses it"),
        ("backbone={depth: 50}", "measures the templates without it"),
        ("tiling={size: 480}", "measures whole images"),
    ],
)
def test_suggest_refuses_keys_that_it_chooses_or_leaves_out(clone, tmp_path, given, why):
    options = ["--config", f"data={clone / 'data'}", given]
    output = snakemake(
        tmp_path, "--snakefile", clone / "Snakefile", "suggest", *options, fails=True
    )
    assert f"{given.split('=')[0]}: `suggest` {why}" in output
    assert not (tmp_path / "config").exists()


def test_init_keeps_a_snakefile_in_the_folder_workflow(clone, tmp_path):
    (tmp_path / "workflow").mkdir()
    (tmp_path / "workflow/Snakefile").write_text("rule mine:\n    shell: 'echo mine'\n")
    output = snakemake(tmp_path, "--snakefile", clone / "Snakefile", "init")
    assert "Kept workflow/Snakefile" in output
    assert not (tmp_path / "Snakefile").exists()
    assert "echo mine" in snakemake(tmp_path, "--dry-run", "--printshellcmds")


def test_init_refuses_the_clone(project):
    before = files_in(project.folder)
    output = project.snakemake("init", fails=True)
    assert "This is the folder of detmake itself" in output
    after = files_in(project.folder)
    assert {path for path in after if ".snakemake" not in path.parts} == before.keys()
