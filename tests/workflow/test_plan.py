"""What Snakemake itself offers works: plans, pictures, lint and report."""

import re
import shutil

from conftest import ROOT


def test_dry_run_reads_well(project):
    output = project.snakemake("--dry-run")
    for message in ("Checking the train subset", "Training results", "Quantizing results"):
        assert message in output
    assert not (project.folder / "results").exists()


def test_what_a_cluster_is_asked_for(project):
    """GPUs where the device needs them, partitions where the configuration names them."""
    partitions = {"partition": "long", "gpu_partition": "gpu"}
    project.configure(
        resources={"gpus": 3},
        runs={
            "auto": {"resources": partitions},
            "cuda": {"resources": partitions, "device": "cuda"},
            "cpu": {"resources": partitions, "device": "cpu"},
        },
    )
    for path in (project.folder / "rules").glob("*.smk"):
        # Where a rule has a message, Snakemake shows that in place of the resources.
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


def test_pictures(project):
    assert "digraph snakemake_dag" in project.snakemake("--dag")
    assert "digraph snakemake_dag" in project.snakemake("--rulegraph")


def test_the_picture_in_the_readme_is_the_one_that_the_workflow_draws(project):
    shutil.copy(ROOT / "config/config.yaml", project.folder / "config.yaml")
    drawn = project.snakemake("--rulegraph", "mermaid-js")
    edges = set(re.findall(r"id\d+ --> id\d+", drawn))
    assert len(edges) > 5
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pictured = re.search(r"```mermaid\n(.*?)```", readme, re.DOTALL)[1]
    assert without_ids(pictured) == without_ids(drawn)


def without_ids(mermaid: str) -> set[tuple[str, str]]:
    """The arrows of a diagram, from rule to rule."""
    names = dict(re.findall(r"(id\d+)\[(.*?)\]", mermaid))
    arrows = re.findall(r"(id\d+) --> (id\d+)", mermaid)
    return {(names[source], names[target]) for source, target in arrows}


def test_report(built):
    built.snakemake("--report", "report.html")
    assert (built.folder / "report.html").stat().st_size > 10_000


def test_lint_finds_only_what_is_argued(project):
    """rules/templates.smk says why it has no log."""
    process = project.start("--lint")
    output, _ = process.communicate(timeout=60)
    lints = re.findall(r"^    \* (.*?):$", output, re.MULTILINE)
    assert lints == ["No log directive defined"], output
