"""The plan of the build, and what Snakemake offers: dry runs, graphs, lint and report."""

import os
import re
import shutil
from dataclasses import dataclass
from xml.etree import ElementTree

import pytest
from conftest import CONFIG, ROOT

SVG = "{http://www.w3.org/2000/svg}"


def test_a_dry_run_shows_the_messages_of_the_rules(project):
    output = project.snakemake("--dry-run")
    for message in (
        "Checking the train subset for results",
        "Training ATSS-MobileNetV2 for results",
        "Post-training quantization of results",
        "Completing results",
    ):
        assert message in output
    assert not (project.folder / "results").exists()


def test_jobs_ask_a_cluster_for_gpus_and_partitions(project):
    """GPUs depend on the device, partitions are those that the configuration names."""
    partitions = {"partition": "long", "gpu_partition": "gpu"}
    project.configure(
        learning_parameters=CONFIG["learning_parameters"] | {"batch_size": 6},
        resources={"gpus": 3},
        runs={
            "auto": {"resources": partitions},
            "cuda": {"resources": partitions, "device": "cuda"},
            "cpu": {"resources": partitions, "device": "cpu"},
        },
    )
    for path in (project.folder / "rules").glob("*.smk"):
        # Snakemake shows the message of a rule in place of its resources.
        path.write_text(re.sub(r"    message:\n.*\n", "", path.read_text(encoding="utf-8")))
    runs = ("results", "results/auto", "results/cuda", "results/cpu")
    files = ("performance.json", "nncf/performance.json")
    plan = project.snakemake("--dry-run", *(f"{run}/{file}" for run in runs for file in files))
    asked = {}
    for rule, job in re.findall(r"^rule (\w+):\n((?: .*\n)+)", plan, re.MULTILINE):
        run = re.search(r"wildcards:.*\brun=([\w/]+)", job)[1]
        found = dict(re.findall(r"(gpu|slurm_partition)=(\w+)", job))
        asked[rule, run] = (found.get("gpu"), found.get("slurm_partition"))
    rules = ("prepare_dataset", "train", "evaluate_snapshot", "quantize_nncf")
    assert {rule: [asked[rule, run] for run in runs] for rule in rules} == {
        "prepare_dataset": [(None, None)] + 3 * [(None, "long")],
        "train": [("3", None), ("3", "gpu"), ("3", "gpu"), (None, "long")],
        "evaluate_snapshot": [(None, None), (None, "long"), ("1", "gpu"), (None, "long")],
        "quantize_nncf": [("1", None), ("1", "gpu"), ("1", "gpu"), (None, "long")],
    }


def test_snakemake_draws_its_graphs(project):
    assert "digraph snakemake_dag" in project.snakemake("--dag")
    assert "digraph snakemake_dag" in project.snakemake("--rulegraph")


CHANGES = {
    "nothing": (lambda project: None, None, None),
    "learning_rate": (
        lambda project: project.configure(
            learning_parameters=CONFIG["learning_parameters"] | {"learning_rate": 0.001}
        ),
        "Training ATSS-MobileNetV2 for results",
        "learning_parameters.learning_rate: 0.002 → 0.001",
    ),
    "confidence_threshold": (
        lambda project: project.configure(postprocessing={"confidence_threshold": 0.9}),
        "Evaluating the snapshot of results",
        "postprocessing.confidence_threshold: 0.35 → 0.9",
    ),
    "image": (
        lambda project: (project.folder / "data/train/image 1.png").unlink(),
        "Checking the train subset for results",
        "images in data/train changed",
    ),
    "annotations": (
        lambda project: edit(project.folder / "data/test/_annotations.coco.json", " "),
        "Checking the test subset for results",
        "data/test/_annotations.coco.json changed",
    ),
    "library": (
        lambda project: edit(
            project.folder / "scripts/detmake/quantization/post_training.py", "EDITED = 1\n"
        ),
        "Post-training quantization of results",
        "detmake/quantization/post_training.py changed",
    ),
    "script": (
        lambda project: edit(project.folder / "scripts/export.py", "EDITED = 1\n"),
        "Exporting results to OpenVINO IR",
        "scripts/export.py changed",
    ),
    "output": (
        lambda project: (project.folder / "results/pot/openvino.bin").unlink(),
        "Post-training quantization of results",
        "results/pot/openvino.bin missing",
    ),
}


# The others are slow tests.
QUICK = {"nothing", "learning_rate", "image"}


def edit(path, more):
    path.write_text(path.read_text(encoding="utf-8") + more, encoding="utf-8")


@pytest.mark.parametrize(
    "change, name, reason",
    [
        pytest.param(*case, id=name, marks=() if name in QUICK else pytest.mark.slow)
        for name, case in CHANGES.items()
    ],
)
def test_stale_jobs_are_marked_with_their_reason(built, change, name, reason):
    change(built)
    stale = built.stale()
    printed = built.snakemake("plan")
    jobs = plan_of(built)
    assert sum(job.stale for job in jobs.values()) == sum(stale.values())
    causes = [job for job in jobs.values() if job.cause]
    if name:
        assert reason in jobs[name].reason
        assert all(job.reason == jobs[name].reason for job in causes)
    else:
        assert not causes
    assert all("follows results/" in job.reason for job in jobs.values() if job.stale ^ job.cause)
    text = (built.folder / "results/plan.txt").read_text(encoding="utf-8")
    assert text in printed
    assert len(re.findall("^make  ", text, re.MULTILINE)) == sum(stale.values())
    assert max(map(len, text.splitlines())) <= 100
    assert built.stale() == stale  # planning changed nothing


def test_the_plan_of_a_new_project_makes_everything(project):
    project.snakemake("plan")
    assert sorted(os.listdir(project.folder / "results")) == ["plan.svg", "plan.txt"]
    jobs = plan_of(project)
    assert sum(project.stale().values()) == len(jobs) == 9
    assert {job.reason for job in jobs.values()} == {"not made yet"}


def test_the_plan_has_all_jobs_and_dependencies(project):
    project.snakemake("plan")
    dot = project.snakemake("--dag")
    target = re.search(r"(\d+)\[label = \"all\"", dot)[1]
    nodes = set(re.findall(r"^\t(\d+)\[label", dot, re.MULTILINE)) - {target}
    edges = {edge for edge in re.findall(r"(\d+) -> (\d+)", dot) if target not in edge}
    assert len(nodes) == len(plan_of(project)) > 5
    assert len(edges) == len(drawn_edges(project.folder / "results/plan.svg")) > 5


@pytest.mark.slow
def test_the_plan_shows_only_chosen_targets(project):
    targets = ["results/dataset/val.json", "results/slow/openvino/openvino.xml"]
    project.configure(runs={"slow": {"input_size": [160, 128]}}, plan=targets)
    assert "Plan of results/dataset/val.json, results/slow/" in project.snakemake("plan")
    jobs = plan_of(project)
    assert len(jobs) == 7
    assert "Training ATSS-MobileNetV2 for results/slow" in jobs
    project.snakemake("plan", "--config", "plan=results/dataset/train.json")
    assert list(plan_of(project)) == ["Checking the train subset for results"]


def test_the_plan_of_an_unknown_target_is_refused(project):
    output = project.snakemake("plan", "--config", "plan=results/nothing", fails=True)
    assert "No rule to produce results/nothing" in output
    assert "Traceback" not in output
    assert not (project.folder / "results").exists()


def test_a_dry_run_shows_only_the_changed_values(built):
    changed = {"learning_rate": 0.001, "seed": 7}
    built.configure(learning_parameters=CONFIG["learning_parameters"] | changed)
    line = re.search("Params have changed.*", built.snakemake("--dry-run"))[0]
    for key, before, now in (("learning_rate", 0.002, 0.001), ("seed", 0, 7)):
        for value in (before, now):
            assert f"'learning_parameters.{key}: {value}'" in line
    assert line.count("learning_parameters.") == 4


def test_the_picture_in_the_readme_is_up_to_date(project):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    picture = ROOT / re.search(r"\]\((docs/plan\.svg)\)", readme)[1]
    shutil.copy(ROOT / "config/config.yaml", project.folder / "config.yaml")
    project.snakemake("plan")
    drawn = project.folder / "results/plan.svg"
    assert drawn_edges(picture) == drawn_edges(drawn)
    assert list(read_plan(picture)) == list(read_plan(drawn))


@dataclass
class DrawnJob:
    """A box of the picture."""

    name: str
    reason: str
    stale: bool
    cause: bool


def plan_of(project) -> dict[str, DrawnJob]:
    return read_plan(project.folder / "results/plan.svg")


def read_plan(svg) -> dict[str, DrawnJob]:
    """The jobs in a picture by their names, which must differ."""
    boxes = [
        group
        for group in ElementTree.parse(svg).iter(f"{SVG}g")
        if "job" in group.get("class").split()
    ]
    jobs = []
    for box in boxes:
        texts = {text.get("class"): text.text for text in box.iter(f"{SVG}text")}
        kinds = box.get("class").split()
        jobs.append(DrawnJob(texts["name"], texts["reason"], "stale" in kinds, "cause" in kinds))
        assert texts["mark"] == ("make" if "stale" in kinds else "ok")
    named = {job.name: job for job in jobs}
    assert len(named) == len(jobs)
    return named


def drawn_edges(svg) -> set[tuple[str, str]]:
    """The arrows of a picture, from name to name."""
    names = list(read_plan(svg))
    return {
        (names[int(path.get("data-from"))], names[int(path.get("data-to"))])
        for path in ElementTree.parse(svg).iter(f"{SVG}path")
        if "edge" in path.get("class", "").split()
    }


@pytest.mark.slow
def test_the_report_is_written(built):
    built.snakemake("--report", "report.html")
    assert (built.folder / "report.html").stat().st_size > 10_000


def test_lint_finds_only_what_is_intended(project):
    """Rule files hold the functions that only they use. Some rules need no log or environment."""
    process = project.start("--lint")
    output, _ = process.communicate(timeout=60)
    lints = re.findall(r"^    \* (.*?):$", output, re.MULTILINE)
    assert sorted(lints) == [
        *["Mixed rules and functions in same snakefile."] * 12,
        *["No log directive defined"] * 9,
        *["Specify a conda environment or container for each rule."] * 7,
    ], output
