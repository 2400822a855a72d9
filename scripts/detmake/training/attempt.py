"""Attempts: what may fail without ending the search that it belongs to."""

import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from detmake import logs
from detmake.errors import InputError

log = logging.getLogger("detmake")

#: What torch says if the machine stopped a process that loads images, or one of those that train.
_STOPPED = re.compile(
    r"killed by signal|exited unexpectedly|got signal|\(SIG(BUS|HUP|INT|KILL|TERM)\) received"
)


@contextmanager
def attempt(outcome: dict[str, Any]) -> Iterator[None]:
    """Run the block. If it fails, log why, and put the reason into the outcome as `failed`.

    A fault of the machine, such as a full disk or a killed process, is no property of the trial: it
    is raised.
    """
    try:
        yield
    except OSError:
        raise
    except InputError as error:
        log.error("%s", error)
        outcome["failed"] = " ".join(str(error).split())
    except Exception as error:
        # torch reports these as any other error.
        free = shutil.disk_usage(logs.file_of(log) or ".").free
        if free < logs.LITTLE or _STOPPED.search(str(error)):
            raise
        log.exception("The trial failed:")
        outcome["failed"] = " ".join(f"{type(error).__name__}: {error}".split())
