"""Detect whether the images of a dataset, or the label files of single images, have changed."""

import hashlib
import marshal
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm.contrib.concurrent import thread_map

from detmake.artifacts import FileState, file_state, sha256, write_text
from detmake.data.annotated import Source
from detmake.data.file_digests import remembered, state_line
from detmake.data.formats import readers
from detmake.errors import InputError

#: File beside generated images that holds their digest.
GENERATED_DIGESTS = "images.sha256"
#: Errors where a file or folder is not there; ValueError: it has a name that none can have.
_ABSENT = (FileNotFoundError, NotADirectoryError, ValueError)


def listed_digest(source: Source, cache: Path | None = None) -> str | None:
    """Return a digest of a source's images and of their label files: of their names and contents.

    Other files do not count, and neither do times and permissions. A listed image that does not
    exist counts as absent, and an annotation file that cannot be read lists none: the check of the
    dataset reports both.

    Args:
        source: where the annotated images are.
        cache: as for `file_digests.remembered`. An annotation file is parsed only if it has
            changed, and only changed images and label files are hashed.

    Returns:
        Hexadecimal SHA-256, or None if the annotations or the root folder do not exist.

    Raises:
        InputError: an image or a label file, or a folder that holds one, cannot be read.
    """
    if not os.path.exists(source.annotations) or not os.path.isdir(source.root):
        return None
    try:
        listed = _listed_files(source, cache)
        root = source.root
        states = {folder: _states(_path(root, folder), names) for folder, names in listed.items()}

        def compute(known: Any) -> tuple[str, dict[str, str]]:
            images = dict(_existing(listed, states))
            digests = _image_digests(root, images, known if isinstance(known, dict) else {})
            content = "".join(f"{name}\0{digests[images[name]]}" for name in sorted(images))
            return hashlib.sha256(os.fsencode(content)).hexdigest(), digests

        parts = "".join(f", {part}" for part in source.parts)
        subject = (
            f"{source.root.absolute()}, images of {source.annotations.absolute()} "
            f"({source.format}{parts})"
        )
        # Of a form that is fixed, and quick to write for 100,000 images: version 2 of marshal.
        state = hashlib.sha256(marshal.dumps([listed, states], 2)).hexdigest()
        return remembered(cache, subject, state, compute)
    except OSError as error:
        raise InputError(
            f"{error.filename}: cannot be read ({error.strerror}). Every image in "
            f"{source.root} must be readable: correct the permissions or remove the image."
        ) from error


def record_generated(annotations: Path) -> None:
    """Write the digest of images that a rule has just made.

    Images, annotation file (COCO) and digest are in one folder.
    """
    folder = annotations.parent
    digest = listed_digest(Source("coco", annotations, folder))
    write_text(folder / GENERATED_DIGESTS, f"{digest}\n")


def changed_images(source: Source, cache: Path) -> str | None:
    """Return `listed_digest`, or None if the images are still as a rule wrote them.

    As a parameter of another rule, it is therefore the same before and after that rule runs.
    """
    digest = listed_digest(source, cache)
    generated = source.root / GENERATED_DIGESTS
    if generated.is_file() and generated.read_text(encoding="utf-8").strip() == digest:
        return None
    return digest


def _listed_files(source: Source, cache: Path | None) -> dict[str, list[str]]:
    """Return the names of a source's images and label files, by folder relative to its root."""
    try:
        if source.format not in readers.ONE_FILE:
            return readers.image_files(source)
        subject = (
            f"images in a folder {source.root.name}, listed in {source.annotations.absolute()} "
            f"({source.format})"
        )
        state = state_line(source.annotations)
        return remembered(cache, subject, state, lambda _: (readers.image_files(source), None))
    except InputError:
        return {}


def _path(root: Path, name: str) -> str:
    """Return the path of a name below a root, or of one that leads out of it.

    Readers work out "../Annotations" from names alone. The system would take the parent of the
    folder that a link leads to.
    """
    path = os.path.join(root, name)
    return os.path.normpath(path) if name.split("/", 1)[0] == ".." else path


def _states(folder: str, names: Sequence[str]) -> list[FileState | None]:
    """Return the state of each image in a folder, or None if there is none of that name."""
    try:
        # Relative to the open folder, the system looks up each name alone.
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except _ABSENT:
        return [None] * len(names)
    states: list[FileState | None] = []
    try:
        for name in names:
            try:
                states.append(file_state(os.stat(name, dir_fd=descriptor)))
            except _ABSENT:
                states.append(None)
    finally:
        os.close(descriptor)
    return states


def _existing(
    listed: Mapping[str, Sequence[str]], states: Mapping[str, Sequence[FileState | None]]
) -> Iterator[tuple[str, str]]:
    """Yield relative name, and a text of name and state, of each listed image that is a file."""
    for subfolder, names in listed.items():
        for base, state in zip(names, states[subfolder], strict=True):
            if state and stat.S_ISREG(state[0]):
                name = os.path.join(subfolder, base)
                yield name, f"{' '.join(map(str, state[1:]))} {name}"


def _image_digests(
    folder: Path, states: Mapping[str, str], known: Mapping[str, Any]
) -> dict[str, str]:
    """Return the SHA-256 of each image by its state; images of a known state are not read."""
    changed = [name for name, state in states.items() if not isinstance(known.get(state), str)]
    paths = [_path(folder, name) for name in changed]
    digests = thread_map(
        sha256, paths, desc=f"Hashing {folder}", unit="image", delay=2, mininterval=2
    )
    hashed = dict(zip(changed, digests, strict=True))
    return {state: hashed.get(name) or known[state] for name, state in states.items()}
