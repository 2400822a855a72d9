"""What makes which rule run again: every key, input, script and module against every rule."""

import ast
import base64
import json
import os
import re
from functools import cache
from pathlib import Path

import grimp
import pytest
import staleness
import yaml
from conftest import CONFIG, ROOT, Project, write_subset
from staleness import BEFORE, ENVIRONMENTS, KEYS, READERS, follow

from detmake.build import dependencies

RUNS = {
    "adopted": {"weights": "finished.pth"},
    "bccd": {"data": "resources/bccd", "pretrained": "http://localhost/a-01234567.pth"},
    "cells": {"data": "resources/cells"},
    "tiled": {"tiling": {"size": 64}},
}
# What is built of the base run, and of the others.
BASE = READERS.keys() - {
    *("adopt_weights", "download_pretrained", "draw_cells", "download_bccd", "convert_bccd"),
    *("prepare_dataset:trained run", "train:declared run", "cut_tiles"),
}
OTHERS = READERS.keys() - {
    *("quantize_nncf", "deploy", "demo", "benchmark", "adopt_weights:base run"),
    *("measure_speed", "draw_batch", "report_run"),
}


def targets(results: str = "results") -> list[str]:
    archives = [f"deploy/{model}.zip" for model in ("openvino", "pot", "nncf")]
    described = [f"{run}dataset/statistics.json" for run in ("", "bccd/", "cells/")]
    return ["all", *(f"{results}/{file}" for file in FILES + archives + described)]


FILES = ["benchmark.csv", "comparison.csv", "demo", "report.html"]


@pytest.fixture(scope="module")
def everything(template_project, tmp_path_factory) -> Project:
    """A project in which every file is up to date for Snakemake, though all are empty."""
    project = template_project.copy(tmp_path_factory.mktemp("everything") / "project")
    for index, subset in enumerate(("train", "valid", "test")):
        write_subset(project.folder / "other" / subset, images=2, seed=9000 + index)
    (project.folder / "groups.csv").write_text("image,group\nimage 1.png,image 0.png\n")
    for file in ("finished.pth", "pretrained.pth"):
        (project.folder / file).write_text(file)
    configure(project)
    for line in project.snakemake("--summary", *targets()).splitlines():
        file, *columns = line.split("\t")
        if columns and file != "output_file":
            path = project.folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir() if file.endswith(("/demo", "/tiles")) else path.touch()
    project.snakemake("--touch", "--forceall", *targets())
    return project


@pytest.fixture
def own(everything, tmp_path) -> Project:
    """That project for one test to change."""
    return everything.copy(tmp_path / "project")


def configure(project: Project, **changes) -> None:
    """Change some keys; in the sections of the tiny configuration, key by key."""
    merged = {
        key: CONFIG[key] | value if isinstance(CONFIG.get(key), dict) else value
        for key, value in changes.items()
    }
    if set(merged.get("learning_parameters", ())) >= {"epochs", "num_iters"}:
        merged["learning_parameters"].pop("num_iters")  # two names for one key
    project.configure(**BEFORE | merged | {"runs": RUNS | merged.get("runs", {})})


def stale(project: Project, results: str = "results") -> set[str]:
    return set(project.stale(*targets(results)))


def planned(first: set[str]) -> set[str]:
    """The rules that a dry run plans if these are the first that are stale."""
    return {*follow(first, BASE), *follow(first, OTHERS)}


# Keys of the configuration


def test_the_table_has_every_key_of_the_schema():
    schema = yaml.safe_load((ROOT / "rules/schema.yaml").read_text(encoding="utf-8"))
    assert sorted(KEYS) == sorted(staleness.keys_of(schema))


@pytest.mark.parametrize("key", KEYS)
def test_a_changed_key(own, key):
    changes, first = KEYS[key]
    configure(own, **changes)
    assert stale(own, changes.get("results", "results")) == planned(first)


def test_the_manual_has_the_table():
    manual = staleness.MANUAL.read_text(encoding="utf-8")
    found = manual.partition(staleness.START)[2].partition(staleness.END)[0]
    assert found == staleness.table(), "run: python tests/workflow/staleness.py"


# Input files

#: The first rules that run again if a file changes. The test of the library's modules has theirs.
INPUTS = {
    "data/train/_annotations.coco.json": {"prepare_dataset"},
    "data/valid/_annotations.coco.json": {"prepare_dataset:val"},
    "data/test/_annotations.coco.json": {"prepare_dataset:test"},
    "finished.pth": {"adopt_weights"},
    "pretrained.pth": {"train"},
    "LICENSE": {"deploy"},
    "requirements.txt": {"deploy"},
    "scripts/deployed/demo.py": {"deploy"},
    "scripts/deployed/README.md": {"deploy"},
    "scripts/deployed/NOTICE": {"deploy"},
    **{f"scripts/reported/report.{suffix}": {"report_run"} for suffix in ("html", "css", "js")},
}


def test_the_table_has_every_input_that_no_rule_writes(everything):
    written, read = set(), set()
    for path in (everything.folder / ".snakemake/metadata").iterdir():
        written.add(base64.urlsafe_b64decode(path.name).decode())
        read |= set(json.loads(path.read_text())["input"])
    assert {f for f in read - written if not f.startswith("scripts/detmake/")} == set(INPUTS)


@pytest.mark.parametrize("file", INPUTS)
def test_a_changed_input(own, file):
    path = own.folder / file
    path.write_text(path.read_text() + "\n")
    assert stale(own) == planned(INPUTS[file])


def test_a_changed_list_of_the_files_of_bccd(own):
    """It is no input file: see `rules/data.smk`."""
    path = own.folder / "rules/bccd.csv"
    path.write_text(path.read_text() + "\n")
    assert stale(own) == planned({"convert_bccd"})


# Environments

# Answers what Snakemake asks conda in a dry run.
CONDA = """\
#!/bin/sh
case "$*" in
    --version) echo conda 24.7.1 ;;
    "info --json") echo '{"conda_prefix": "/", "platform": "linux-64"}' ;;
    "config --get channel_priority --json") echo '{"get": {"channel_priority": "strict"}}' ;;
    *) exit 1 ;;
esac
"""
DEPLOYED = ["--sdm", "conda"]


@pytest.fixture(scope="module")
def deployed(everything, tmp_path_factory) -> Project:
    """That project, up to date in environments that conda would make."""
    folder = tmp_path_factory.mktemp("deployed")
    (folder / "conda").write_text(CONDA)
    (folder / "conda").chmod(0o755)
    project = everything.copy(folder / "project")
    project.environment = {"PATH": f"{folder}:{os.environ['PATH']}"}
    project.snakemake("--touch", "--forceall", *targets(), *DEPLOYED)
    assert project.stale(*targets(), *DEPLOYED) == {}
    return project


def test_the_table_has_every_environment():
    assert sorted(ENVIRONMENTS) == sorted(path.stem for path in (ROOT / "envs").glob("*.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_edited_environment(deployed, environment):
    path = deployed.folder / f"envs/{environment}.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(f"{text}# edited\n", encoding="utf-8")
    found = set(deployed.stale(*targets(), *DEPLOYED))
    path.write_text(text, encoding="utf-8")
    assert found == planned(ENVIRONMENTS[environment])


# Code


@cache
def rules_of_scripts() -> dict[str, str]:
    """The rule that runs each script, by the script's name."""
    files = [path.read_text(encoding="utf-8") for path in (ROOT / "rules").glob("*.smk")]
    found = re.findall(
        r"^(?:rule|checkpoint) (\w+):(?:(?!^\w+ \w+:).)*?^        \"../scripts/(\w+).py\"",
        "".join(files),
        re.M | re.S,
    )
    return {script: rule for rule, script in found}


SCRIPTS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py"))


@cache
def importers() -> dict[str, set[str]]:
    """The scripts that import each module of the library, directly or not, according to grimp."""
    graph = grimp.build_graph("detmake", include_external_packages=False)
    found: dict[str, set[str]] = {module: set() for module in graph.modules}
    for script in [*SCRIPTS, "deployed/demo"]:
        tree = ast.parse((ROOT / f"scripts/{script}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                named = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
                for module in named & graph.modules:
                    for needed in {module, *graph.find_upstream_modules(module)}:
                        found[needed].add(script)
    for package in found:  # importing a module imports the packages around it
        for module in found:
            if module.startswith(f"{package}."):
                found[package] = found[package] | found[module]
    return found


def cases(rule: str) -> set[str]:
    """A rule with its special cases that other rules follow."""
    return {rule, "evaluate_ir:nncf"} if rule == "evaluate_ir" else {rule}


def edit(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8") + "\nEDITED = 1\n", encoding="utf-8")


def test_every_script_has_a_rule():
    assert sorted(rules_of_scripts()) == SCRIPTS


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_edited_script(own, script):
    edit(own.folder / f"scripts/{script}.py")
    rule = rules_of_scripts()[script]
    assert stale(own) == planned(cases(rule))


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_depends_on_the_modules_that_it_imports(script):
    found = dependencies.code_of_scripts(ROOT / "scripts")[f"{script}.py"].files
    expected = [f"{script}.py"] + [
        f"{module.replace('.', '/')}{'/__init__' if is_package else ''}.py"
        for module, scripts in importers().items()
        for is_package in [any(other.startswith(f"{module}.") for other in importers())]
        if script in scripts
    ]
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("module", ["model.decoder", "runtime.inference", "build.plan", "errors"])
def test_an_edited_module(own, module):
    """The rules run again whose scripts import it, and those that follow."""
    edit(own.folder / f"scripts/detmake/{module.replace('.', '/')}.py")
    rules = {rules_of_scripts().get(s, "deploy") for s in importers()[f"detmake.{module}"]}
    assert stale(own) == planned(set().union(*map(cases, rules)))
