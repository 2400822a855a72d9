"""Two trainings in one folder of checkpoints: the second is refused, and told why."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from detmake.errors import InputError
from detmake.training import lock

SCRIPTS = Path(__file__).parents[2] / "scripts"
# Holds the lock until it is killed; a process that it forks lives on.
HOLDER = """
import os, sys, time
from pathlib import Path
from detmake.training import lock
with lock.held(Path(sys.argv[1])):
    os.fork()
    os.write(1, b"%d\\n" % os.getpid())
    time.sleep(600)
"""


@pytest.fixture
def checkpoints(tmp_path):
    return tmp_path / "run/checkpoints"


@pytest.fixture
def holder(checkpoints):
    """A process that holds the lock; the process that it forked outlives it."""
    command = [sys.executable, "-c", HOLDER, str(checkpoints)]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        pids = {int(process.stdout.readline()) for _ in range(2)}
        yield process
        process.kill()
        for pid in pids - {process.pid}:
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def without_locks(monkeypatch):
    """A file system that has no locks."""

    def lockf(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", lockf)


def hold(checkpoints) -> None:
    with lock.held(checkpoints):
        assert checkpoints.with_name("checkpoints.lock").exists()


def test_the_second_process_is_told_of_the_first(checkpoints, holder):
    with pytest.raises(InputError) as error:
        hold(checkpoints)
    assert f"process {holder.pid} on host {socket.gethostname()} trains there" in str(error.value)
    assert f"`kill {holder.pid}`" in str(error.value)


def test_a_killed_process_holds_nothing_and_its_children_neither(checkpoints, holder):
    holder.kill()
    holder.wait()
    hold(checkpoints)


def test_the_lock_leaves_no_file(checkpoints):
    hold(checkpoints)
    hold(checkpoints)
    assert list(checkpoints.parent.iterdir()) == []


@pytest.mark.parametrize("age, refused", [(10, True), (1000, False)])
def test_without_locks_of_the_file_system_a_heartbeat_counts(
    checkpoints, without_locks, age, refused
):
    checkpoints.parent.mkdir()
    file = checkpoints.with_name("checkpoints.lock")
    file.write_text("node7 4321\n")
    os.utime(file, (time.time() - age, time.time() - age))
    if refused:
        with pytest.raises(InputError, match=r"process 4321 on host node7.*wait 2 minutes"):
            hold(checkpoints)
    else:
        hold(checkpoints)


def test_the_heart_beats_while_the_lock_is_held(checkpoints, without_locks, monkeypatch):
    monkeypatch.setattr(lock, "_HEARTBEAT", 0.01)
    file = checkpoints.with_name("checkpoints.lock")
    with lock.held(checkpoints):
        os.utime(file, (0, 0))
        deadline = time.monotonic() + 10
        while file.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert file.stat().st_mtime > 0
