"""Compute digests of files, and remember them until the files change."""

import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from detmake.artifacts import file_state, sha256, write_text
from detmake.errors import InputError

log = logging.getLogger("detmake")


def file_digest(file: Path, cache: Path | None = None) -> str | None:
    """Return the hexadecimal SHA-256 of a file's content, or None if there is no such file.

    Args:
        file: the file; a link counts as the file behind it.
        cache: as for `remembered`. The file is read only if its state has changed.

    Raises:
        InputError: the file cannot be read.
    """
    if not file.is_file():
        return None
    try:
        subject, state = str(file.absolute()), state_line(file)
        return remembered(cache, subject, state, lambda _: (sha256(file), None))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}).") from error


def remembered(
    cache: Path | None, subject: str, state: str, compute: Callable[[Any], tuple[Any, Any]]
) -> Any:
    """Return a value, which is computed only if the state of its subject has changed.

    Args:
        cache: folder with one file for each subject: state, value and details, each on a line.
            Processes may share it (of two that write at once, one wins), and it may be deleted at
            any time. If it is None, damaged or not writable, the value is computed.
        subject: what the value is about.
        state: one line of text that differs if the value may differ.
        compute: takes the details that were kept with the last value, or None. Returns the value
            and the details that will help to compute the next one. Both are kept as JSON.
    """
    file = cache and cache / hashlib.sha256(os.fsencode(subject)).hexdigest()
    value, details = _read(file, state)
    if value is not None:
        return value
    value, details = compute(details)
    if file:
        try:
            write_text(file, f"{state}\n{json.dumps(value)}\n{json.dumps(details)}\n")
        except OSError as error:
            log.warning(
                "%s: cannot be written (%s); %s will be read again next time",
                *(file, error.strerror, subject),
            )
    return value


def _read(file: Path | None, state: str) -> tuple[Any, Any]:
    """Return the value and None if it is of this state, otherwise None and the details."""
    if not file:
        return None, None
    try:
        with open(file, encoding="utf-8") as lines:
            is_same = lines.readline() == f"{state}\n"
            value = lines.readline()
            return (json.loads(value), None) if is_same else (None, json.loads(lines.readline()))
    except (OSError, ValueError):  # absent or damaged
        return None, None


def state_line(file: Path) -> str:
    """Return a line that differs if a file may have changed (`artifacts.file_state`)."""
    return " ".join(map(str, file_state(file.stat())))
