"""Finished trainings: their outputs, the store, and the checkpoints that they no longer need."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from detmake.artifacts import empty, staged_files
from detmake.store import Entry, Store
from detmake.training.fingerprint import has_course
from detmake.training.recipe import LearningParameters

log = logging.getLogger("detmake")


@contextmanager
def outputs(
    files: Sequence[Path],
    store: Store,
    identity: str,
    checkpoints: Path,
    course: str,
    goes_on: bool = False,
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
        goes_on: whether the checkpoints stay, since a later training may go on from them.

    Yields:
        A scratch folder, from which files of the outputs' names are moved, and the store's entry if
        they are restored. If it is None, the block must write them.
    """
    with staged_files(files) as folder:
        entry = store.restore(identity, [file.name for file in files], folder)
        yield folder, entry
    if goes_on:
        return
    if entry and not has_course(checkpoints, course):
        return
    os.sync()  # the result is on the disk before the checkpoints leave it
    try:
        empty(checkpoints)
        if not checkpoints.is_symlink():
            checkpoints.rmdir()
    except OSError as error:
        log.warning("%s: cannot be removed (%s). Its training is finished.", checkpoints, error)


def warn_if_useless(f_measure: float, parameters: LearningParameters) -> None:
    """Warn of a training that ended well, but whose snapshot finds nothing.

    Args:
        f_measure: on the validation subset, in [0, 1].
        parameters: the learning parameters.
    """
    if not f_measure:
        log.warning(
            "The snapshot finds nothing on the val subset: its F-measure is 0 after training for "
            "at most %d epochs at a learning rate of %g. Raise learning_parameters.epochs, try "
            "another learning_parameters.learning_rate, start from `pretrained` weights, or check "
            "the annotations. A model that finds nothing cannot be quantized.",
            *(parameters.stop_after or parameters.num_iters, parameters.learning_rate),
        )
