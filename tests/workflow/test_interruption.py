"""What happens when a process is killed: the next call goes on from the last checkpoint."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
from conftest import CONFIG

pytestmark = pytest.mark.slow

EPOCHS = 8
# One iteration an epoch, to save time: it is saved after each epoch.
LEARNING = CONFIG["learning_parameters"] | {"num_iters": EPOCHS, "batch_size": 16}


@pytest.fixture
def long_project(project):
    """A project whose training takes long enough to be killed."""
    project.configure(learning_parameters=LEARNING)
    return project


def wait_for(project, log: str, message: str) -> None:
    """Wait until a log has a message."""
    path = project.folder / "results/logs" / log
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if path.exists() and message in path.read_text():
            return
        time.sleep(0.1)
    pytest.fail(f"not in {log} within five minutes: {message}")


def process_of(snakemake: subprocess.Popen, script: str) -> int:
    """The process that runs a script below Snakemake."""
    table = subprocess.run(
        ["ps", "-ww", "-e", "-o", "pid=,sid=,args="], capture_output=True, text=True, check=True
    ).stdout
    for line in table.splitlines():
        pid, session, arguments = line.split(None, 2)
        script_file = rf"python\S* \S+\.{script}\.py$"
        if int(session) == snakemake.pid and re.search(script_file, arguments):
            return int(pid)
    raise AssertionError(table)


def check_resumed(project) -> None:
    """Check that a training is complete, and that it began at a checkpoint."""
    results = project.folder / "results"
    assert (results / "weights.pth").exists()
    log = (results / "logs/train.log").read_text()
    resumed = re.search(r"resumed epoch: (\d+)", log)
    assert resumed, log
    assert 3 <= int(resumed[1]) < EPOCHS
    assert "Saving checkpoint at 2 epochs" not in log  # Snakemake starts a log anew
    assert f"Saving checkpoint at {EPOCHS} epochs" in log
    scalars = pd.read_csv(results / "logs/scalars.csv").query("kind == 'train'")
    assert scalars.step.is_unique
    assert scalars.step.max() == EPOCHS
    assert not (results / "checkpoints").exists()


def test_a_killed_training_resumes(long_project):
    process = long_project.start()
    wait_for(long_project, "train.log", "Saving checkpoint at 4 epochs")
    os.kill(process_of(process, "train"), signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0, output
    assert not (long_project.folder / "results/weights.pth").exists()

    long_project.snakemake("results/performance.json")
    check_resumed(long_project)
    assert long_project.json("results/performance.json")["images"] == 6


def members(project) -> list[int]:
    """The processes that train a model of a project together."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
            if (
                b"detmake.training.process" in command
                and (folder / "cwd").resolve() == project.folder
            ):
                found.append(int(folder.name))
        except OSError:  # it has ended
            continue
    return found


def test_a_training_in_two_processes_resumes_when_one_of_them_is_killed(long_project):
    """The other process ends, too. The next call trains in one process."""
    two = ("--config", "device=cpu", "resources={gpus: 2}")
    process = long_project.start(*two)
    wait_for(long_project, "train.log", "Saving checkpoint at 4 epochs")
    pids = members(long_project)
    assert len(pids) == 2
    os.kill(pids[1], signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0, output
    assert "SIGKILL" in output
    assert not members(long_project)
    log = (long_project.folder / "results/logs/train.log").read_text()
    assert log.count("Saving checkpoint at 4 epochs") == 1
    assert not (long_project.folder / "results/weights.pth").exists()

    long_project.snakemake("results/weights.pth")
    check_resumed(long_project)


def test_a_training_that_outlives_snakemake_keeps_others_out_of_its_checkpoints(long_project):
    """After `--unlock`, a second training is refused until the first one ends."""
    process = long_project.start()
    wait_for(long_project, "train.log", "Saving checkpoint at 4 epochs")
    training = process_of(process, "train")
    os.kill(training, signal.SIGSTOP)  # it must not end before the second one begins
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    assert "--unlock" in long_project.snakemake(fails=True)
    long_project.snakemake("--unlock")
    output = long_project.snakemake(fails=True)
    assert f"results/checkpoints: process {training} on host" in output
    assert f"kill {training}" in output
    assert "Traceback" not in output
    log = (long_project.folder / "results/logs/train.log").read_text()
    assert "Saving checkpoint at 4 epochs" in log  # what the first one wrote
    os.kill(training, signal.SIGKILL)
    process.communicate()
    long_project.snakemake("results/weights.pth")
    check_resumed(long_project)


def test_a_training_with_other_settings_starts_anew(long_project):
    process = long_project.start("results/weights.pth")
    wait_for(long_project, "train.log", "Saving checkpoint at 4 epochs")
    os.kill(process_of(process, "train"), signal.SIGKILL)
    process.communicate(timeout=60)

    long_project.configure(learning_parameters=LEARNING | {"num_iters": 2})
    long_project.snakemake("results/weights.pth")
    log = (long_project.folder / "results/logs/train.log").read_text()
    assert "resumed epoch" not in log
    scalars = pd.read_csv(long_project.folder / "results/logs/scalars.csv")
    assert scalars.query("kind == 'train'").step.max() == 2
