"""Trials: a failure is a result, and a fault of the machine is none."""

import logging
import shutil

import pytest

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


KILLED = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KILLED])
def test_faults_of_the_machine_are_raised(error):
    with pytest.raises(type(error)):
        run(error)


def test_an_error_on_a_full_disk_is_raised(monkeypatch):
    usage = shutil.disk_usage(".")._replace(free=10_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(RuntimeError, match="inline_container"):
        run(RuntimeError("[enforce fail at inline_container.cc:783]"))
