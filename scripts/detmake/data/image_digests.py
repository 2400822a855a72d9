"""Detect whether the images in a folder have changed."""

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm.contrib.concurrent import thread_map

from detmake.artifacts import write_text
from detmake.errors import InputError
from detmake.image_files import IMAGE_SUFFIXES

#: File beside generated images that holds their digest.
GENERATED_DIGESTS = "images.sha256"

log = logging.getLogger("detmake")


def folder_digest(folder: Path, cache: Path | None = None) -> str | None:
    """Return a digest of the images in a folder: their relative names and their contents.

    Files with one of `IMAGE_SUFFIXES` count, including those in subfolders and behind links. Times
    and permissions do not count.

    Args:
        folder: image folder.
        cache: folder with one file per image folder: the folder's digest, and the SHA-256 of each
            image by name, size and times of change. If nothing changed, only the first line is
            read; otherwise only changed images are hashed. Processes may share it (if two write at
            once, one's new entries are lost), and it may be deleted at any time. If it is None,
            damaged or not writable, all images are read again.

    Returns:
        Hexadecimal SHA-256, or None if the folder does not exist.

    Raises:
        InputError: the folder, or an image in it, cannot be read.
    """
    if not folder.is_dir():
        return None
    try:
        keys = dict(_scan_images(folder))
        state = _sha256("\0".join(sorted(keys.values())))
        cache_file = cache and cache / _sha256(os.path.abspath(folder))
        digest, known = _read_cache(cache_file, state)
        if digest:
            return digest
        changed = [name for name, key in keys.items() if not isinstance(known.get(key), str)]
        paths = [os.path.join(folder, name) for name in changed]
        digests = thread_map(
            _hash_file, paths, desc=f"Hashing {folder}", unit="image", delay=2, mininterval=2
        )
        hashed = dict(zip(changed, digests, strict=True))
    except OSError as error:
        raise InputError(
            f"{error.filename}: cannot be read ({error.strerror}). Every image in "
            f"{folder} must be readable: correct the permissions or remove the image."
        ) from error
    entries = {key: hashed.get(name) or known[key] for name, key in keys.items()}
    digest = _sha256("".join(f"{name}\0{entries[keys[name]]}" for name in sorted(keys)))
    if cache_file:
        try:
            write_text(cache_file, f"{state} {digest}\n{json.dumps(entries)}\n")
        except OSError as error:
            log.warning(
                "%s: cannot be written (%s); images of %s will be read again next time",
                *(cache_file, error.strerror, folder),
            )
    return digest


def record_generated(folder: Path) -> None:
    """Record the digest of the images that a rule has just written to a folder."""
    write_text(folder / GENERATED_DIGESTS, f"{folder_digest(folder)}\n")


def changed_images(folder: Path, cache: Path) -> str | None:
    """Return `folder_digest`, or None if the images are still as a rule wrote them.

    So, as a rule's parameter, it is the same before and after that rule runs.
    """
    digest = folder_digest(folder, cache)
    generated = folder / GENERATED_DIGESTS
    if generated.is_file() and generated.read_text(encoding="utf-8").strip() == digest:
        return None
    return digest


def _read_cache(file: Path | None, state: str) -> tuple[str | None, dict[str, Any]]:
    """Return the folder's digest if the state matches, otherwise the SHA-256 of known images."""
    if not file:
        return None, {}
    try:
        with open(file, encoding="utf-8") as lines:
            found = re.fullmatch(r"([0-9a-f]{64}) ([0-9a-f]{64})\n", lines.readline())
            if found and found[1] == state:
                return found[2], {}
            return None, dict(json.loads(lines.readline()))
    except (OSError, ValueError, TypeError):  # absent or damaged
        return None, {}


def _scan_images(
    folder: Path | str, prefix: str = "", ancestors: tuple[tuple[int, int], ...] = ()
) -> Iterator[tuple[str, str]]:
    """Yield relative name and state (size, times, name) of each image, in no particular order."""
    status = os.stat(folder)
    identity = (status.st_dev, status.st_ino)
    if identity in ancestors:  # a link to a parent folder
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _scan_images(
                    entry.path, f"{prefix}{entry.name}/", (*ancestors, identity)
                )
            elif entry.name.lower().endswith(IMAGE_SUFFIXES) and entry.is_file():
                status, name = entry.stat(), prefix + entry.name
                # The change time, too: archives and `cp -p` restore the modification time.
                times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
                yield name, f"{status.st_size} {times} {name}"


def _sha256(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()


def _hash_file(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
