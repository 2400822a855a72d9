"""Trials: a failure is a result, and a fault of the machine is none."""

import logging
import shutil
import signal

import pytest
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from detmake.errors import InputError
from detmake.training.attempt import attempt


def run(error: Exception) -> dict:
    outcome = {}
    with attempt(outcome):
        raise error
    return outcome


def test_the_reason_is_kept(caplog):
    caplog.set_level(logging.CRITICAL)
    assert run(InputError("a\n  message")) == {"failed": "a message"}
    assert run(RuntimeError("too much")) == {"failed": "RuntimeError: too much"}


LOADER_KILLED = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
LOADER_GONE = RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")
LAUNCHER_KILLED = SignalException("Process 7 got signal: 15", signal.SIGTERM)
TRAINING_KILLED = ChildFailedError("train", {0: ProcessFailure(0, 7, -signal.SIGKILL, "<none>")})
TRAINING_FAILED = ChildFailedError("train", {0: ProcessFailure(0, 7, 1, "<none>")})


def test_a_process_that_fails_is_a_failed_trial(caplog):
    caplog.set_level(logging.CRITICAL)
    assert "ChildFailedError" in run(TRAINING_FAILED)["failed"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        LOADER_KILLED,
        LOADER_GONE,
        TRAINING_KILLED,
        LAUNCHER_KILLED,
    ],
)
def test_faults_of_the_machine_are_raised(error):
    with pytest.raises(type(error)):
        run(error)


def test_an_error_on_a_full_disk_is_raised(monkeypatch):
    usage = shutil.disk_usage(".")._replace(free=10_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(RuntimeError, match="inline_container"):
        run(RuntimeError("[enforce fail at inline_container.cc:783]"))
