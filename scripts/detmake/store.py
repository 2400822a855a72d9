"""The store of finished trainings: their files, by the digest of all that they were made from."""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path

from detmake.artifacts import sha256, write_json, write_text

#: Seconds for which a used entry is not removed: its job may still be writing its outputs.
_GRACE = 600

_ENTRY, _IDENTITY = "entry.json", "identity.json"

log = logging.getLogger("detmake")


@dataclass(frozen=True)
class Entry:
    """A finished training.

    Attributes:
        target: the snapshot that it was made for, such as `results/weights.pth`.
        template: display name of the template.
        f_measure: on the validation subset, in [0, 1].
        minutes: how long it took; if it resumed, since then.
        finished: when, local time to the minute.
        files: SHA-256 of each file, by name.
    """

    target: str
    template: str
    f_measure: float
    minutes: float
    finished: str = field(default_factory=lambda: f"{datetime.now():%Y-%m-%d %H:%M}")
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Store:
    """Copies of what trainings made.

    Each entry is a folder of its own, named after the SHA-256 of the training's identity: a text
    that two trainings share only if their results are the same. An entry is complete or absent.
    Processes may share the store, and it may be deleted at any time.

    Attributes:
        enabled: whether to use it. If not, it restores and saves nothing.
        limit_gb: its largest size in 10⁹ bytes. Beyond it, the entries that were not used for the
            longest time are removed, except those used in the last ten minutes.
        folder: the folder.
    """

    enabled: bool
    limit_gb: float
    folder: Path = Path(".detmake/store")

    def restore(self, identity: str, names: Collection[str], folder: Path) -> Entry | None:
        """Copy the files of a training.

        An entry with a damaged or missing file is removed, with a warning.

        Args:
            identity: what identifies the training.
            names: names of the files.
            folder: receives the files. If None is returned, it may hold damaged ones.

        Returns:
            The entry, or None if there is no whole one.
        """
        source = self._folder_of(identity)
        try:
            if not self.enabled or not source.is_dir():
                return None
            entry = _read(source)
            with suppress(OSError):  # it may be another user's
                os.utime(source / _ENTRY)  # so that no other process removes it meanwhile
            if entry.files.keys() != set(names):
                raise ValueError(f"it holds {', '.join(entry.files)}")
            for name, digest in entry.files.items():
                shutil.copyfile(source / name, folder / name)
                if sha256(folder / name) != digest:
                    raise ValueError(f"{name} has another SHA-256 than when it was stored")
        except (FileNotFoundError, ValueError, TypeError) as error:
            log.warning("%s: removed from the store, since it is damaged: %s", source, error)
            with suppress(OSError):
                self.remove(source)
            return None
        except OSError as error:
            log.warning("%s: cannot be restored from the store (%s)", source, error)
            return None
        log.info(
            "Restored from the store: %s, trained on %s in %.1f minutes (%s)",
            *(entry.target, entry.finished, entry.minutes, source),
        )
        return entry

    def save(self, identity: str, entry: Entry, folder: Path) -> None:
        """Store the files of a training, and remove old entries if the store is full.

        A failure is only a warning.

        Args:
            identity: what identifies the training.
            entry: the training, without its files.
            folder: the files, all of which are stored.
        """
        self._put(identity, entry, folder.iterdir())

    def take(self, note: Path) -> None:
        """Store a training whose files lie where `describe` found them, unless the store has it.

        Files that were changed or removed are not stored. A failure is only a warning.

        Args:
            note: what `describe` wrote; it need not exist.
        """
        if self.enabled and (described := _described(note, is_known=self.holds)):
            self._put(*described)

    def _put(self, identity: str, entry: Entry, files: Iterable[Path]) -> None:
        target = self._folder_of(identity)
        if not self.enabled:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.folder, prefix=".new-") as scratch:
                new = Path(scratch, target.name)
                new.mkdir()
                for file in files:
                    shutil.copyfile(file, new / file.name)
                stored = _with_digests(entry, sorted(new.iterdir()))
                write_text(new / _IDENTITY, identity)
                write_json(new / _ENTRY, asdict(stored))
                if not target.is_dir():  # another job may have had the same training
                    new.rename(target)
            self._keep_limit()
        except OSError as error:
            log.warning("%s, the store of finished trainings: %s", self.folder, error)

    def entries(self) -> dict[Path, Entry]:
        """Return the whole entries by their folders, last used first."""
        found = {}
        for folder in reversed(self._folders()):
            with suppress(FileNotFoundError, ValueError, TypeError):
                found[folder] = _read(folder)
        return found

    def kept_for(self, snapshots: Iterable[Path], notes: Iterable[Path]) -> dict[Path, Path]:
        """Return the entries of snapshots that are present: a file of each, by the entry's folder.

        Args:
            snapshots: snapshots; they need not exist.
            notes: what `describe` wrote; they need not exist. They name the entry of a snapshot
                that has another content than the stored one, since its template was renamed.
        """
        present = {sha256(file): file for file in snapshots if file.exists()}
        kept = {
            folder: present[entry.files["weights.pth"]]
            for folder, entry in self.entries().items()
            if entry.files["weights.pth"] in present
        }
        for identity, _, files in filter(None, map(_described, notes)):
            kept.setdefault(self._folder_of(identity), files[0])
        return kept

    def noted(self, note: Path) -> Path | None:
        """Return the folder of the training that `describe` wrote a note of; it need not exist.

        Without a note that can be read, return None.
        """
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            return self._folder_of(json.loads(note.read_text(encoding="utf-8"))["identity"])
        return None

    def holds(self, identity: str) -> bool:
        """Return whether there is an entry of a training; it may be damaged."""
        return self.enabled and self._folder_of(identity).is_dir()

    def remove(self, folder: Path) -> None:
        """Remove an entry at once: a process that is killed meanwhile leaves no half of it."""
        with (
            suppress(FileNotFoundError),  # another process removes it
            tempfile.TemporaryDirectory(
                dir=self.folder, prefix=".old-", ignore_cleanup_errors=True
            ) as scratch,
        ):
            folder.rename(Path(scratch, folder.name))

    def clear(self) -> None:
        """Remove all entries."""
        for folder in self._folders():
            self.remove(folder)

    def _folder_of(self, identity: str) -> Path:
        return self.folder / hashlib.sha256(identity.encode()).hexdigest()

    def _folders(self) -> list[Path]:
        """Return entries and what killed jobs left of some, those used longest ago first."""
        return sorted(self.folder.glob("*/"), key=_last_used)

    def _keep_limit(self) -> None:
        sizes = {folder: size(folder) for folder in self._folders()}
        excess = sum(sizes.values()) - self.limit_gb * 1e9
        for folder, freed in sizes.items():
            if excess <= 0 or time.time() - _last_used(folder) < _GRACE:
                return
            log.info("%s: removed, since the store has more than %g GB", folder, self.limit_gb)
            self.remove(folder)
            excess -= freed


def describe(note: Path, identity: str, entry: Entry, files: Iterable[Path]) -> None:
    """Write a note of a finished training, with which `Store.take` can store it later.

    A failure is only a warning.

    Args:
        note: the file to write.
        identity: what identifies the training.
        entry: the training.
        files: its files, where they lie; they may move together with the note.
    """
    content = {
        "entry": asdict(_with_digests(entry, files)),
        "files": [os.path.relpath(file, note.parent) for file in files],
        "identity": identity,
    }
    try:
        write_json(note, content)
    except OSError as error:
        log.warning("%s: cannot be written (%s)", note, error)


def _described(
    note: Path, is_known: Callable[[str], bool] = lambda identity: False
) -> tuple[str, Entry, list[Path]] | None:
    """Return identity, entry and files of a training, unless it is known or its files changed.

    A note that cannot be read is only a warning.
    """
    try:
        content = json.loads(note.read_text(encoding="utf-8")) if note.exists() else None
        if content is None or is_known(content["identity"]):
            return None
        entry = Entry(**content["entry"])
        files = [Path(os.path.normpath(note.parent / file)) for file in content["files"]]
        if not all(file.is_file() for file in files):
            return None
        is_same = {file.name: sha256(file) for file in files} == entry.files
        return (content["identity"], entry, files) if is_same else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s: cannot be read (%s)", note, error)
        return None


def _with_digests(entry: Entry, files: Iterable[Path]) -> Entry:
    return replace(entry, files={file.name: sha256(file) for file in files})


def size(path: Path) -> int:
    """Return the size of a file, or of all files in a folder, in bytes."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def _read(folder: Path) -> Entry:
    """Read an entry.

    Raises:
        FileNotFoundError, ValueError, TypeError: it is damaged.
    """
    return Entry(**json.loads((folder / _ENTRY).read_text(encoding="utf-8")))


def _last_used(folder: Path) -> float:
    """Return when an entry was last used, or when a folder without an entry was last changed."""
    for path in (folder / _ENTRY, folder):
        with suppress(FileNotFoundError):
            return path.stat().st_mtime
    return 0.0  # it was removed meanwhile
