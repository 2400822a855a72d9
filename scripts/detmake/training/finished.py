"""Finished trainings: their outputs, the store, and the checkpoints that they no longer need."""

import logging
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
    """Make the outputs of a training, which the store may have.

    The block trains if it must, and saves in the store. Then the outputs are moved to their places.
    Last, the checkpoints are removed, since the result is safe. If the block raises, they stay.

    Args:
        files: the outputs, with different names.
        store: the store.
        identity: the training's `fingerprint`.
        checkpoints: folder of checkpoints. If nothing is trained, those of another training stay.
        course: the `fingerprint` in that folder.

    Yields:
        A folder for files of the outputs' names, and the store's entry if they are in it.
    """
    with staged_files(files) as folder:
        entry = store.restore(identity, [file.name for file in files], folder)
        yield folder, entry
    mark = checkpoints / "fingerprint.json"
    if entry and not (mark.exists() and mark.read_text(encoding="utf-8") == course):
        return
    try:
        shutil.rmtree(checkpoints)
    except OSError as error:
        log.warning("%s: cannot be removed (%s). Its training is finished.", checkpoints, error)
