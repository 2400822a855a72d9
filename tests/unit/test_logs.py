"""What a job says on the terminal and leaves in its log file."""

import logging
from contextlib import contextmanager, nullcontext

import pytest

from detmake import logs
from detmake.errors import InputError


@pytest.fixture(autouse=True)
def restored_logger():
    """Restore the library's logger, which other tests read in their own way."""
    logger = logging.getLogger("detmake")
    state = logger.handlers, logger.level, logger.propagate
    yield
    for handler in logger.handlers:
        handler.close()
    logger.handlers, logger.level, logger.propagate = state


@pytest.fixture
def log_file(tmp_path):
    return tmp_path / "logs" / "job.log"


def test_messages_go_to_the_file_and_to_the_terminal(log_file, capsys):
    with logs.job(log_file) as log:
        log.info("begun × 1")
        logging.getLogger("detmake").warning("from the library")
        log.debug("detail")
    assert log_file.exists()
    for text in (log_file.read_text(encoding="utf-8"), capsys.readouterr().err):
        assert [line.split(" | ")[-1] for line in text.splitlines()] == [
            "begun × 1",
            "from the library",
        ]
    assert "| WARNING |" in log_file.read_text(encoding="utf-8")


def test_an_input_error_ends_the_process_and_shows_only_its_message(log_file, capsys):
    with pytest.raises(SystemExit) as end, logs.job(log_file):
        raise InputError("data.yaml: found 3 classes.\nExpected are 2.")
    assert end.value.code == 1
    for text in (log_file.read_text(encoding="utf-8"), capsys.readouterr().err):
        assert "data.yaml: found 3 classes.\nExpected are 2.\n" in text
        assert "Traceback" not in text
        assert "InputError" not in text


def test_any_other_exception_is_logged_with_its_traceback_and_raised(log_file):
    error = ZeroDivisionError("of all things")
    with pytest.raises(ZeroDivisionError) as raised, logs.job(log_file):
        raise error
    assert raised.value is error
    text = log_file.read_text(encoding="utf-8")
    assert "Traceback (most recent call last):" in text
    assert "ZeroDivisionError: of all things" in text


def test_a_job_overwrites_its_log(log_file):
    for message in ("first", "second"):
        with logs.job(log_file) as log:
            log.info(message)
    messages = [line.split(" | ")[-1] for line in log_file.read_text().splitlines()]
    assert messages == ["second"]


def test_append_keeps_what_the_log_file_holds(log_file):
    for message in ("first", "second"):
        with logs.job(log_file, append=True) as log:
            log.info(message)
    messages = [line.split(" | ")[-1] for line in log_file.read_text().splitlines()]
    assert messages == ["first", "second"]


def test_a_job_that_is_refused_leaves_the_log_of_the_other(log_file):
    @contextmanager
    def refused():
        raise InputError("another process trains there")
        yield

    with logs.job(log_file, lock=nullcontext()) as log:
        log.info("first")
        with pytest.raises(SystemExit), logs.job(log_file, lock=refused()):
            pass
    messages = [line.split(" | ")[-1] for line in log_file.read_text().splitlines()]
    assert messages == ["first", "another process trains there"]


def test_a_message_is_logged_once_after_several_jobs(tmp_path, capsys, caplog):
    for name in ("a", "b"):
        with logs.job(tmp_path / f"{name}.log") as log:
            log.info("in %s", name)
    assert capsys.readouterr().err.count("in b") == 1
    assert "in b" not in (tmp_path / "a.log").read_text()
    assert caplog.records == [], "the root logger's handlers would repeat the message"
