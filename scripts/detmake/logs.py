"""Where a job's messages go: the terminal, and a log file that is readable without one."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from detmake.errors import InputError


def file_of(logger: logging.Logger) -> str | None:
    """Path of the file that a logger writes to, if it does."""
    files = (item for item in logger.handlers if isinstance(item, logging.FileHandler))
    return next((item.baseFilename for item in files), None)


@contextmanager
def job(log_file: str | Path, append: bool = False) -> Iterator[logging.Logger]:
    """Log the library's messages to the terminal and to a file while the block runs.

    A mistake in the user's input ends the process with its message alone; any other exception is
    logged with its traceback.

    Args:
        log_file: the log file.
        append: append to the log file instead of overwriting it.

    Yields:
        The library's logger.

    Raises:
        SystemExit: with status 1, after an `InputError`.
    """
    logger = logging.getLogger("detmake")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    Path(log_file).parent.mkdir(parents=True, exist_ok=True)
    if not append:
        Path(log_file).write_bytes(b"")
    file = logging.FileHandler(log_file, mode="a", encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s | %(levelname)s | %(message)s"))
    terminal = logging.StreamHandler()
    terminal.setFormatter(logging.Formatter("%(asctime)s | %(message)s", datefmt="%H:%M:%S"))
    logger.handlers = [file, terminal]
    try:
        yield logger
    except InputError as error:
        logger.error("%s", error)
        sys.exit(1)
    except Exception:
        logger.exception("The job failed:")
        raise
    finally:
        logger.handlers = []
        file.close()
