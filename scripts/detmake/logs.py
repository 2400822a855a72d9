"""Log a job's messages to the terminal and to a file."""

import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from detmake.errors import InputError

#: So few bytes may be why a job failed; a model and a checkpoint are smaller.
LITTLE = 100_000_000


def file_of(logger: logging.Logger) -> str | None:
    """Return the path of the file that a logger writes to, or None."""
    files = (item for item in logger.handlers if isinstance(item, logging.FileHandler))
    return next((item.baseFilename for item in files), None)


@contextmanager
def job(
    log_file: str | Path, append: bool = False, lock: AbstractContextManager | None = None
) -> Iterator[logging.Logger]:
    """Log the library's messages to the terminal and to a file while the block runs.

    An `InputError` ends the process; only its message is logged. Any other exception is logged
    with its traceback and raised again. If little room is left on the disk, the last line says so:
    libraries report a full disk in ways of their own, and remove what they have written.

    Args:
        log_file: the log file.
        append: keep what other processes of the job wrote, instead of emptying the file first.
        lock: held while the block runs. If it is refused, what its holder wrote stays in the file.

    Yields:
        The library's logger.

    Raises:
        SystemExit: with status 1, after an `InputError`.
    """
    logger = logging.getLogger("detmake")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    folder = Path(log_file).parent
    folder.mkdir(parents=True, exist_ok=True)
    # Names of files may be bytes that are no UTF-8. The terminal escapes them, too.
    file = logging.FileHandler(log_file, mode="a", encoding="utf-8", errors="backslashreplace")
    file.setFormatter(logging.Formatter("%(asctime)s | %(levelname)s | %(message)s"))
    terminal = logging.StreamHandler()
    terminal.setFormatter(logging.Formatter("%(asctime)s | %(message)s", datefmt="%H:%M:%S"))
    logger.handlers = [file, terminal]
    try:
        with lock or nullcontext():
            if not append:
                os.truncate(log_file, 0)
            yield logger
    except InputError as error:
        logger.error("%s", error)
        sys.exit(1)
    except Exception:
        logger.exception("The job failed:")
        if (free := shutil.disk_usage(folder).free) < LITTLE:
            logger.error(
                "%s: only %.1f MB are free on this disk, which may be the reason. Free some space, "
                "and build again.",
                *(folder, free / 1e6),
            )
        raise
    finally:
        logger.handlers = []
        file.close()
