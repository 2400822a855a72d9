"""Trainings that go on from the last snapshot of their run: `pretrained: previous`."""

import logging
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from detmake.artifacts import sha256
from detmake.errors import InputError
from detmake.store import Store

log = logging.getLogger("detmake")


def start(
    store: Store,
    target: str,
    note: Path,
    identity_of: Callable[[Path | None], str],
    has_begun: Callable[[Path | None], bool],
) -> Path | None:
    """Choose the snapshot that a training starts from.

    It is the last one of its run in the store, even if it was made for another run. But if the
    store already has this training, from whatever start, that start is taken: what is built stays
    as it is until data or settings change. And a training that was interrupted, or stopped early,
    goes on from its own start.

    Args:
        store: the store of finished trainings.
        target: the snapshot to make, such as `results/weights.pth`.
        note: the note of the run's last training (`detmake.store.describe`); it need not exist.
        identity_of: returns the identity of the training for a start; None: from scratch.
        has_begun: tells whether the checkpoints are of a training from a start.

    Returns:
        A file in the store, or None if it has none for the target: training starts from scratch.

    Raises:
        InputError: the store is off.
    """
    if not store.enabled:
        raise InputError(
            "pretrained: found previous, the last snapshot in the store of finished trainings, but "
            "store.enabled is false. Set it to true, or name the file of a snapshot."
        )
    last = store.noted(note)
    snapshots = {
        folder / "weights.pth": entry.files["weights.pth"]
        for folder, entry in sorted(store.entries().items(), key=lambda item: item[0] != last)
        if folder == last or entry.target == target
    }
    whole = [file for file, digest in snapshots.items() if _has(file, digest)]
    starts: list[Path | None] = [*whole, None]
    held = (one for one in starts if store.holds(identity_of(one)))
    begun = filter(has_begun, starts)
    chosen = next(chain(held, begun, starts))
    log.info("pretrained: previous: %s", chosen or "no earlier snapshot, so training from scratch")
    return chosen


def _has(file: Path, digest: str) -> bool:
    return file.is_file() and sha256(file) == digest
