"""The build on a real Slurm cluster: where jobs run, and what happens when they fail."""

import itertools
import re
from pathlib import Path

import pytest
from conftest import CONFIG
from slurm_cluster import Cluster, wait_until

pytestmark = pytest.mark.slow

EPOCHS = 10


@pytest.mark.alone
def test_training_runs_on_a_gpu_node_and_the_rest_on_cpu_nodes(cluster, embedded):
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
    assert train["JobState"] == "COMPLETED"
    assert (train["Partition"], train["NodeList"]) == ("gpu", "gpu0")
    assert train["JOB_GRES"] == "gpu:2"
    assert "mem=16000M" in train["TRES"]  # 8000 for each process
    assert train["TimeLimit"] == "1-00:00:00"
    assert train["NumCPUs"] == "2"  # the rule's 16, but no more than the profile allows
    for job in itertools.chain(*jobs.values()):
        assert job["JobState"] == "COMPLETED"
        assert (job["Partition"], job["NodeList"]) == ("cpu", "cpu0")
        assert job["JOB_GRES"] == "(null)"


@pytest.fixture(scope="module")
def prepared(template_project, tmp_path_factory):
    """Runs with prepared datasets, to be trained for long. Not to be changed."""
    project = template_project.copy(tmp_path_factory.mktemp("long") / "project")
    project.configure(
        learning_parameters=CONFIG["learning_parameters"] | {"num_iters": EPOCHS},
        resources={"partition": "cpu", "gpu_partition": "gpu"},
        runs={"cancelled": {}, "overtime": {}, "memory": {}},
    )
    subsets = ("train", "val", "test")
    runs = ("results", "results/cancelled", "results/overtime", "results/memory")
    project.snakemake(*(f"{run}/dataset/{subset}.json" for run in runs for subset in subsets))
    return project


@pytest.fixture
def long_project(cluster, prepared, tmp_path):
    """A copy of `prepared` of the test's own, which submits jobs to the cluster."""
    project = prepared.copy(tmp_path / "project")
    project.submit_to(cluster)
    return project


def wait_for_checkpoint(project, run: str) -> None:
    log = project.folder / run / "logs/train.log"
    saved = "Saving checkpoint at 4 epochs"
    wait_until(lambda: log.exists() and saved in log.read_text(), f"{run} is trained", 240)


def train_jobs(cluster: Cluster, project) -> dict[str, str]:
    """The job numbers of a project's trainings, by the name of the run."""
    jobs = cluster.jobs(project.folder).get("train", [])
    return {job["Comment"].rpartition("_")[2]: job["JobId"] for job in jobs}


def check_resumed(project, run: str) -> None:
    log = (project.folder / run / "logs/train.log").read_text()
    assert int(re.search(r"resumed epoch: (\d+)", log)[1]) >= 3
    assert "Saving checkpoint at 2 epochs" not in log  # it began a new log
    assert f"Saving checkpoint at {EPOCHS} epochs" in log


def test_ended_jobs_are_reported_and_a_second_call_finishes_them(long_project, cluster):
    """One job is cancelled, one exceeds its time, one exceeds its memory."""
    # Slurm's state of each run's job, and what Slurm writes into the job's log. Without control
    # groups, the log alone tells a job over its memory from one that failed.
    ends = {
        "cancelled": ("CANCELLED", "CANCELLED AT"),
        "overtime": ("TIMEOUT", "DUE TO TIME LIMIT"),
        "memory": ("FAILED", "exceeded memory limit"),
    }
    targets = [f"results/{run}/weights.pth" for run in ends]
    little = "train:mem_mb=200 if wildcards.run == 'results/memory' else 8000"
    process = long_project.start(*targets, "--set-resources", little)
    wait_until(lambda: len(train_jobs(cluster, long_project)) == len(ends), "all are submitted")
    jobs = train_jobs(cluster, long_project)
    wait_for_checkpoint(long_project, "results/overtime")
    # Stop it, or it might finish before Slurm checks its time, every half minute.
    cluster.call("scancel", "--signal=STOP", jobs["overtime"])
    cluster.call("scontrol", "update", f"JobId={jobs['overtime']}", "EndTime=now")
    wait_for_checkpoint(long_project, "results/cancelled")
    cluster.call("scancel", jobs["cancelled"])

    output, _ = process.communicate(timeout=240)
    assert process.returncode != 0, output
    assert output.count("Error in rule train") >= 3
    for run, (state, reason) in ends.items():
        assert f"SLURM-job '{jobs[run]}' failed, SLURM status is: '{state}'" in output
        log = re.search(rf"\S+/slurm_logs/rule_train/\w+/{jobs[run]}\.log", output)[0]
        assert reason in Path(log).read_text()
        assert not (long_project.folder / f"results/{run}/weights.pth").exists()

    long_project.snakemake(*targets)
    assert long_project.stale(*targets) == {}
    for run in ("cancelled", "overtime"):
        check_resumed(long_project, f"results/{run}")


def test_training_resumes_after_its_node_was_down(long_project, cluster):
    """Slurm queues the job again, and the build succeeds without a second call."""
    process = long_project.start("results/weights.pth")
    wait_for_checkpoint(long_project, "results")
    cluster.kill_node("gpu0")
    assert cluster.node_state("gpu0").startswith("down")
    assert process.poll() is None
    cluster.start_node("gpu0")
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    check_resumed(long_project, "results")
    (job,) = cluster.jobs(long_project.folder)["train"]
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")
