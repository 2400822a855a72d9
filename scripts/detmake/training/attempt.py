"""Attempts: what may fail without ending the search that it belongs to."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from detmake.errors import InputError

log = logging.getLogger("detmake")


@contextmanager
def attempt(outcome: dict[str, Any]) -> Iterator[None]:
    """Run the block. If it fails, log why, and put the reason into the outcome as `failed`.

    A fault of the machine, such as a full disk, is no property of the trial: an OSError is raised.
    """
    try:
        yield
    except OSError:
        raise
    except InputError as error:
        log.error("%s", error)
        outcome["failed"] = " ".join(str(error).split())
    except Exception as error:
        log.exception("The trial failed:")
        outcome["failed"] = " ".join(f"{type(error).__name__}: {error}".split())
