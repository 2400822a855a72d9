"""Download a public archive, and read from it what a list of SHA-256 digests pins."""

import hashlib
import itertools
import logging
import os
import sys
import time
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import requests
from tqdm import tqdm

from detmake.errors import InputError

ATTEMPTS = 4
WAIT_S = 2.0  # before the second attempt, doubled before each later one
TIMEOUT_S = (10.0, 60.0)  # to connect; between two blocks of data

_TRANSIENT_STATUS = {408, 429, 500, 502, 503, 504}
# What zipfile raises on damaged archives, besides its own error: OSError for an offset before the
# file, RuntimeError for a member that says it is encrypted or packed in an unknown way, ValueError
# for a name that is no UTF-8.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
)

log = logging.getLogger("detmake")


def download(url: str, target: Path) -> None:
    """Download ``url`` to the file ``target``, with progress on standard error.

    The file appears whole or not at all: a body shorter than its declared length, or a chunked one
    without its end, is a fault. (A server that declares neither cannot be checked here: the digests
    of `read_members` are for that.) Transient faults are tried again, from the first byte, since
    GitHub makes its archives on request and serves no ranges of them.

    Raises:
        InputError: ``url`` could not be had; an earlier ``target`` is left as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    try:
        for attempt in itertools.count(1):
            try:
                _fetch(url, part, label=target.name)
                break
            except requests.RequestException as error:
                if attempt == ATTEMPTS or not _is_transient(error):
                    raise InputError(
                        f"{url}: download failed at attempt {attempt}: {error}\n"
                        f"Try again later; or put that file at {target} by hand; or point the "
                        "`data` key at a folder that already holds the data set."
                    ) from error
                wait = WAIT_S * 2 ** (attempt - 1)
                log.warning(
                    "%s: attempt %d of %d failed (%s); next one in %g s",
                    url,
                    attempt,
                    ATTEMPTS,
                    error,
                    wait,
                )
                time.sleep(wait)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def read_members(archive: Path, digests: Mapping[str, str]) -> dict[str, bytes]:
    """Return the contents of the named members of a zip archive, each one verified.

    Args:
        archive: A zip file whose members all lie in one top folder, as GitHub makes them.
        digests: Hexadecimal SHA-256 of each wanted member, by its path below the top folder, with
            forward slashes. Other members are never read, and nothing is written.

    Returns:
        Contents by the same keys, in the same order. All of it is held in memory.

    Raises:
        InputError: ``archive`` is absent or no zip archive, or some member is missing or altered.
    """
    remedy = (
        f"Delete {archive}, if it is still there, and run again to download it anew; or point the "
        "`data` key at a folder that already holds the data set."
    )
    contents: dict[str, bytes] = {}
    missing: list[str] = []
    altered: list[str] = []
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = {info.filename.partition("/")[2]: info for info in zipped.infolist()}
            for name, expected in digests.items():
                if name not in members:
                    missing.append(name)
                    continue
                try:
                    contents[name] = zipped.read(members[name])
                except _DAMAGED as error:
                    altered.append(f"{name} (unreadable: {error})")
                    continue
                found = hashlib.sha256(contents[name]).hexdigest()
                if found != expected:
                    altered.append(f"{name} (SHA-256 {found}, expected {expected})")
    except FileNotFoundError as error:
        raise InputError(f"{archive}: no such file. Run again to download it.") from error
    except _DAMAGED as error:
        raise InputError(
            f"{archive}: not a whole zip archive ({error}); its download was cut short, or it is "
            f"another file.\n{remedy}"
        ) from error
    if missing or altered:
        counts = [
            f"{len(names)} {what}, first {names[0]}"
            for what, names in (("altered", altered), ("missing", missing))
            if names
        ]
        raise InputError(
            f"{archive}: of {len(digests)} members needed, {'; '.join(counts)}.\n"
            f"Expected is the archive as published, byte for byte in these members.\n{remedy}"
        )
    return contents


def _fetch(url: str, target: Path, label: str) -> None:
    """Write the body of one GET of ``url`` to ``target``, raising requests' own errors."""
    # Without a content encoding, the declared length is that of the file.
    headers = {"Accept-Encoding": "identity"}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        response.raise_for_status()
        length = response.headers.get("Content-Length", "")
        with (
            target.open("wb") as file,
            tqdm(
                desc=label,
                total=int(length) if length.isdecimal() else None,
                unit="B",
                unit_scale=True,
                mininterval=0.1 if sys.stderr.isatty() else 10,
            ) as progress,
        ):
            for block in response.iter_content(1 << 16):
                file.write(block)
                progress.update(len(block))


def _is_transient(error: Exception) -> bool:
    if isinstance(error, requests.HTTPError):
        return error.response.status_code in _TRANSIENT_STATUS
    cut = requests.exceptions.ChunkedEncodingError  # raised for any body that ends early
    return isinstance(error, (requests.ConnectionError, requests.Timeout, cut))
