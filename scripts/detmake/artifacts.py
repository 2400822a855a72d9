"""The build's files: written complete or not at all."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

#: Files of a model folder, the folder of an exported model, by the names that rules give them.
MODEL_FILES = {
    "xml": "openvino.xml",
    "bin": "openvino.bin",
    "config": "config.json",
    "label_schema": "label_schema.json",
    "confidence_threshold": "confidence_threshold",
}

FileState = tuple[int, ...]
#: What differs if a file may have changed, from its `os.stat_result`: mode, size, times and inode.
#: The change time counts, since archives and `cp -p` restore the time of modification.
#: It takes no step in Python, since it is called for each image of a dataset.
file_state: Callable[[os.stat_result], FileState] = attrgetter(
    "st_mode", "st_size", "st_mtime_ns", "st_ctime_ns", "st_ino"
)


_SCRATCH = ".staged-"  # a scratch folder's name begins with it


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Yield a scratch folder inside `folder`; move its files to `folder` when the block ends.

    If the block raises, `folder` keeps its files as they were.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=_SCRATCH) as scratch:
        yield Path(scratch)
        for path in sorted(Path(scratch).iterdir()):
            os.replace(path, folder / path.name)


@contextmanager
def staged_files(files: Sequence[Path]) -> Iterator[Path]:
    """Yield a scratch folder for files of different names; move them to `files` at the end.

    If the block raises, `files` stay as they were.
    """
    files[0].parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=files[0].parent, prefix=_SCRATCH) as scratch:
        yield Path(scratch)
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            _move(Path(scratch, file.name), file)


def _move(file: Path, target: Path) -> None:
    """Move a file, perhaps into a folder of another file system; the target appears whole."""
    try:
        os.replace(file, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=_SCRATCH) as scratch:
            os.replace(shutil.copy2(file, scratch), target)


def remove_scratch(folder: Path) -> None:
    """Remove what killed processes staged in a folder, into which no process writes now."""
    for scratch in folder.glob(f"{_SCRATCH}*"):
        shutil.rmtree(scratch)


def empty(folder: Path) -> None:
    """Make a folder, or remove all that is in it; it may be a link to one."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def sha256(file: str | Path) -> str:
    """Return the hexadecimal SHA-256 of a file's content."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8) atomically."""
    with staged(path.parent) as scratch:
        (scratch / path.name).write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically, indented and with a final newline."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_label_schema(path: Path, labels: Sequence[str]) -> None:
    """Write the class names and their indices, which are the label indices of the model."""
    write_json(path, {"labels": [{"id": i, "name": name} for i, name in enumerate(labels)]})


def write_confidence_threshold(path: Path, threshold: float) -> None:
    """Write a confidence threshold in [0, 1] as text."""
    write_text(path, f"{threshold:g}\n")
