"""One training at a time in a folder of checkpoints."""

import errno
import fcntl
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

from detmake.errors import InputError

_HEARTBEAT = 30  # seconds
_MISSED = 4 * _HEARTBEAT


@contextmanager
def held(checkpoints: Path) -> Iterator[None]:
    """Let no other process train with a folder of checkpoints while the block runs.

    A file beside the folder is locked and names this host and process. The kernel frees it when the
    process ends, however it ends; processes that it forks do not keep it. If the file system has no
    locks, the file's time is a heartbeat instead.

    Raises:
        InputError: another process trains there.
    """
    path = checkpoints.with_name(f"{checkpoints.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    ended = threading.Event()
    with ExitStack() as stack:
        while True:
            file = stack.enter_context(path.open("a+", encoding="utf-8"))
            has_locks = _lock(file)
            if _is_at(file, path):  # else its last holder has removed it
                break
        file.truncate(0)
        print(socket.gethostname(), os.getpid(), file=file, flush=True)
        if not has_locks:
            threading.Thread(target=_beat, args=(path, ended), daemon=True).start()
        try:
            yield
        finally:
            ended.set()
            path.unlink(missing_ok=True)


def _lock(file: TextIO) -> bool:
    """Lock a file, and return whether its file system has locks.

    If it has none, another process holds the file as long as the file is fresh.

    Raises:
        InputError: another process holds the file.
    """
    hint = ""
    try:
        # Not flock: the processes that load images are forked, and would keep that.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            state = os.fstat(file.fileno())
            if not state.st_size or time.time() - state.st_mtime > _MISSED:
                return False
            hint = f" If it has ended already, wait {_MISSED // 60} minutes."
    file.seek(0)
    host, pid, *_ = *file.read().split(), "unknown", "unknown"
    raise InputError(
        f"{Path(file.name).with_suffix('')}: process {pid} on host {host} trains there, and two "
        f"trainings would spoil each other's checkpoints. Wait until it ends, or end it with "
        f"`kill {pid}` on {host}. Then run snakemake again.{hint}"
    )


def _is_at(file: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _beat(path: Path, ended: threading.Event) -> None:
    while not ended.wait(_HEARTBEAT) and path.exists():
        with suppress(OSError):  # of a network
            os.utime(path)
