"""Finished trainings: their outputs, the store, and the checkpoints that they no longer need."""

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from detmake.artifacts import staged_files
from detmake.store import Entry, Store

log = logging.getLogger("detmake")


@contextmanager
def outputs(
    files: Sequence[Path], store: Store, identity: str, checkpoints: Path, course: str
) -> Iterator[tuple[Path, Entry | None]]:
    """Make the outputs of a training: restore them from the store, or let the block train.

    A block that trains also saves in the store. When it ends, the outputs are moved to their
    places, and then the checkpoints are removed. If the block raises, they stay.

    Args:
        files: the outputs, with different names.
        store: the store.
        identity: `fingerprint` of the training, by which the store finds it.
        checkpoints: folder of checkpoints. If the outputs are restored, those of another course
            stay.
        course: `fingerprint` of the training's `course()`, which its checkpoints have.

    Yields:
        A scratch folder, from which files of the outputs' names are moved, and the store's entry if
        they are restored. If it is None, the block must write them.
    """
    with staged_files(files) as folder:
        entry = store.restore(identity, [file.name for file in files], folder)
        yield folder, entry
    mark = checkpoints / "fingerprint.json"
    if entry and not (mark.exists() and mark.read_text(encoding="utf-8") == course):
        return
    os.sync()  # the result is on the disk before the checkpoints leave it
    try:
        shutil.rmtree(checkpoints)
    except OSError as error:
        log.warning("%s: cannot be removed (%s). Its training is finished.", checkpoints, error)
