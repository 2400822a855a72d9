"""The build on a real Slurm cluster: where its jobs run, what becomes of those that it loses."""

import itertools
import os
import re
import shutil
from pathlib import Path

import pytest
import slurm_cluster
import yaml
from conftest import CONFIG, ROOT
from slurm_cluster import Cluster, wait_until

EPOCHS = 30


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    if missing := slurm_cluster.missing_programs():
        if os.geteuid() or not shutil.which("apt-get"):
            pytest.skip(f"not installed: {', '.join(missing)} (Debian: slurm-wlm and munge)")
        slurm_cluster.install()
    with Cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


def submit_to(cluster: Cluster, project) -> None:
    """Let the project's Snakemake submit through the profile, to a cluster without accounting."""
    project.environment = cluster.environment
    project.executor = [
        *("--workflow-profile", "profiles/slurm", "--max-threads", "2"),
        *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"),
    ]


@pytest.fixture(scope="module")
def embedded(cluster, template_project, tmp_path_factory):
    """The default experiment with a short training, all of it built on the cluster."""
    project = template_project.copy(tmp_path_factory.mktemp("embedded") / "project")
    experiment = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    experiment["learning_parameters"]["num_iters"] = 2
    experiment["pot_parameters"] = {"maximal_accuracy_degradation": 100}
    experiment["resources"] = {"gpus": 2, "partition": "cpu", "gpu_partition": "gpu"}
    (project.folder / "config.yaml").write_text(yaml.safe_dump(experiment), encoding="utf-8")
    submit_to(cluster, project)
    project.snakemake()
    return project


def test_the_whole_build(embedded):
    for folder in ("", "openvino/", "pot/"):
        assert 0 <= embedded.json(f"results/{folder}performance.json")["f-measure"] <= 1
    assert embedded.stale() == {}


def test_training_runs_on_a_gpu_node_and_the_rest_on_cpu_nodes(embedded, cluster):
    jobs = cluster.jobs(embedded.folder)
    assert {rule: len(found) for rule, found in jobs.items()} == {
        "prepare_dataset": 3,
        "train": 1,
        "evaluate_snapshot": 1,
        "export": 1,
        "quantize_pot": 1,
        "evaluate_ir": 2,
    }  # the images were drawn where Snakemake runs
    (train,) = jobs.pop("train")
    assert (train["JobState"], train["Partition"], train["NodeList"]) == (
        "COMPLETED",
        "gpu",
        "gpu0",
    )
    assert "gres/gpu=2" in train["TRES"]
    assert "mem=8000M" in train["TRES"]
    assert train["TimeLimit"] == "1-00:00:00"
    assert train["NumCPUs"] == "2"  # the rule's 16, but no more than the profile allows
    for job in itertools.chain(*jobs.values()):
        assert (job["JobState"], job["Partition"], job["NodeList"]) == ("COMPLETED", "cpu", "cpu0")
        assert "gpu" not in job["TRES"]


@pytest.fixture(scope="module")
def prepared(template_project, tmp_path_factory):
    """A project with a long training before it. Not to be changed: copy it."""
    project = template_project.copy(tmp_path_factory.mktemp("prepared") / "project")
    project.configure(
        learning_parameters=CONFIG["learning_parameters"] | {"num_iters": EPOCHS},
        resources={"partition": "cpu", "gpu_partition": "gpu"},
    )
    project.snakemake(*(f"results/dataset/{split}.json" for split in ("train", "val", "test")))
    return project


@pytest.fixture
def long_project(cluster, prepared, tmp_path):
    project = prepared.copy(tmp_path / "project")
    submit_to(cluster, project)
    return project


def start_training(project, cluster, *arguments: str):
    """Start a training on the cluster, and wait for a checkpoint that is not the first."""
    process = project.start("results/weights.pth", *arguments)
    project.wait_for("train.log", "Saving checkpoint at 4 epochs")
    return process, cluster.jobs(project.folder)["train"][-1]["JobId"]


def check_resumed(project) -> None:
    log = (project.folder / "results/logs/train.log").read_text()
    assert int(re.search(r"resumed epoch: (\d+)", log)[1]) >= 3
    assert "Saving checkpoint at 2 epochs" not in log  # Snakemake starts a log anew
    assert f"Saving checkpoint at {EPOCHS} epochs" in log
    assert (project.folder / "results/weights.pth").exists()
    assert project.stale("results/weights.pth") == {}


def check_failed(process, project, job: str, status: str, reason: str) -> None:
    """Snakemake says which rule and job failed and how, and where Slurm's reason is."""
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0, output
    assert "Error in rule train" in output
    assert f"SLURM-job '{job}' failed, SLURM status is: '{status}'" in output
    log = re.search(rf"\S+/slurm_logs/rule_train/results/{job}\.log", output)[0]
    assert reason in Path(log).read_text()
    assert not (project.folder / "results/weights.pth").exists()


def test_a_job_that_the_cluster_kills(long_project, cluster):
    process, job = start_training(long_project, cluster)
    cluster.call("scancel", job)
    check_failed(process, long_project, job, "CANCELLED", f"JOB {job} ON gpu0 CANCELLED")
    long_project.snakemake("results/weights.pth")
    check_resumed(long_project)


def test_a_job_over_its_time_limit(long_project, cluster):
    process, job = start_training(long_project, cluster)
    cluster.call("scontrol", "update", f"JobId={job}", "EndTime=now")
    check_failed(process, long_project, job, "TIMEOUT", "DUE TO TIME LIMIT")
    long_project.snakemake("results/weights.pth")
    check_resumed(long_project)


def test_a_job_over_its_memory(long_project, cluster):
    """Without control groups, Slurm kills the job, and says why in its log alone."""
    process = long_project.start("results/weights.pth", "--set-resources", "train:mem_mb=200")
    wait_until(lambda: "train" in cluster.jobs(long_project.folder), "the training is submitted")
    job = cluster.jobs(long_project.folder)["train"][-1]["JobId"]
    check_failed(process, long_project, job, "FAILED", "exceeded memory limit")
    long_project.snakemake("results/weights.pth")
    assert (long_project.folder / "results/weights.pth").exists()


def test_a_node_that_goes_down_and_comes_back(long_project, cluster):
    """The job goes back into the queue, and the build ends right without a second call."""
    process, job = start_training(long_project, cluster)
    cluster.kill_node("gpu0")
    wait_until(lambda: cluster.node_state("gpu0").startswith("down"), "gpu0 is down")
    assert process.poll() is None
    cluster.start_node("gpu0")
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 0, output
    check_resumed(long_project)
    (last,) = cluster.jobs(long_project.folder)["train"]
    assert (last["JobId"], last["Restarts"]) == (job, "1")
