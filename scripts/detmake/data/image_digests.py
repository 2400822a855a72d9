"""Whether the images of a folder have changed."""

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from detmake.artifacts import write_text
from detmake.errors import InputError
from detmake.image_files import IMAGE_SUFFIXES

#: Beside the images that a rule of the build made: their digest as made.
GENERATED_DIGESTS = "images.sha256"

log = logging.getLogger("detmake")


def folder_digest(folder: Path, cache: Path | None = None) -> str | None:
    """Return a digest of the images in a folder: their relative names and their contents.

    Files with one of `IMAGE_SUFFIXES` count, in sub-folders and behind links too; times and
    permissions do not.

    Args:
        folder: Image folder.
        cache: Folder with a file for each image folder: what was found there, and the SHA-256 of
            images by name, size and times of change. Where nothing changed, only the first line of
            that file is read; otherwise only what changed is hashed. It may be shared by several
            processes (of two that write at once, one's new entries are lost), and may be deleted
            at any time. Where it is None, damaged or cannot be written, images are read again.

    Returns:
        Hexadecimal SHA-256, or None where the folder does not exist.

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
        hashed = dict(zip(changed, _hash_images(folder, changed), strict=True))
    except OSError as error:
        raise InputError(
            f"{error.filename}: cannot be read ({error.strerror}). Every image in the folder "
            f"{folder} must be readable: correct its permissions or remove it."
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
    """Write the digest of the images that a rule of the build just put into a folder."""
    write_text(folder / GENERATED_DIGESTS, f"{folder_digest(folder)}\n")


def changed_images(folder: Path, cache: Path) -> str | None:
    """State of an image folder as a build parameter: it differs when the images differ.

    Args:
        folder: image folder.
        cache: as of `folder_digest`.

    Returns:
        The folder's digest; None where a rule of the build makes the images, or made them and they
        are as it left them, so that the parameter is the same before and after that rule ran.
    """
    digest = folder_digest(folder, cache)
    generated = folder / GENERATED_DIGESTS
    if generated.is_file() and generated.read_text(encoding="utf-8").strip() == digest:
        return None
    return digest


def _read_cache(file: Path | None, state: str) -> tuple[str | None, dict[str, Any]]:
    """Return the digest of an image folder in that state, or else the SHA-256 of its images."""
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
    """Yield relative name and state (size, times, name) of all images in a folder, in no order."""
    status = os.stat(folder)
    identity = (status.st_dev, status.st_ino)
    if identity in ancestors:  # a link back up
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _scan_images(
                    entry.path, f"{prefix}{entry.name}/", (*ancestors, identity)
                )
            elif entry.name.lower().endswith(IMAGE_SUFFIXES) and entry.is_file():
                status, name = entry.stat(), prefix + entry.name
                # The inode's time as well, since archives and `cp -p` set the other one.
                times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
                yield name, f"{status.st_size} {times} {name}"


def _sha256(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()


def _hash_images(folder: Path, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    with ThreadPoolExecutor() as pool:
        digests = pool.map(lambda name: _hash_file(os.path.join(folder, name)), names)
        progress = tqdm(
            digests, f"Hashing {folder}", len(names), unit="image", delay=2, mininterval=2
        )
        return list(progress)


def _hash_file(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
