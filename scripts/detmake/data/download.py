"""Download a public file and verify the digest in its name."""

import hashlib
import itertools
import logging
import re
import time
from pathlib import Path

import requests
from tqdm import tqdm

from detmake.artifacts import staged
from detmake.errors import InputError

ATTEMPTS = 4
WAIT_S = 2.0  # before the second attempt, doubled before each later one
TIMEOUT_S = (10.0, 60.0)  # to connect; between two blocks of data

_TRANSIENT_STATUS = {408, 429, 500, 502, 503, 504}

log = logging.getLogger("detmake")


def download(url: str, target: Path, remedy: str) -> None:
    """Download `url` to the file `target`, with progress on standard error.

    The target is written completely or not at all: a truncated body is an error, if the server
    declares a length or sends chunks. Otherwise only a digest of the content can tell. Transient
    errors are retried from the first byte, because GitHub generates archives on request and does
    not serve ranges of them.

    Args:
        url: HTTP or HTTPS address.
        target: file to write; its folder is created if missing.
        remedy: sentences that tell the user what to do if the download fails.

    Raises:
        InputError: the download failed; an existing `target` is unchanged.
    """
    with staged(target.parent) as scratch:
        for attempt in itertools.count(1):
            try:
                _fetch(url, scratch / target.name)
                break
            except requests.RequestException as error:
                if attempt == ATTEMPTS or not _is_transient(error):
                    raise InputError(
                        f"{url}: download failed at attempt {attempt}: {error}\n{remedy}"
                    ) from error
                wait = WAIT_S * 2 ** (attempt - 1)
                message = "%s: attempt %d of %d failed (%s); retrying in %g s"
                log.warning(message, url, attempt, ATTEMPTS, error, wait)
                time.sleep(wait)


def verify_digest(path: Path) -> None:
    """Verify a file against the digest at the end of its name: `-<eight digits>.pth`.

    OpenMMLab and torchvision name checkpoints this way. The digits are the first of the file's
    SHA-256, in lower-case hexadecimal.

    Raises:
        InputError: the name has no digest, or the content does not match it.
    """
    digits = re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    if not digits:
        raise InputError(
            f"{path}: found no digest in the name, expected `-`, the first eight hexadecimal "
            "digits of the file's SHA-256, and `.pth` at its end.\n"
            "Use a file that is published under such a name, or download it yourself and give the "
            "path instead of the address."
        )
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()[:8]
    if found != digits[1]:
        raise InputError(
            f"{path}: found a file whose SHA-256 begins with {found}, expected {digits[1]}, as in "
            "its name; the file is truncated, altered, or a different one.\n"
            "Delete it, if it still exists, and run again to download it; or put the right file "
            "there by hand."
        )


def _fetch(url: str, target: Path) -> None:
    """Write the response to one GET of `url` to `target`; raises errors of requests."""
    headers = {"Accept-Encoding": "identity"}  # so that the declared length is the file's
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        response.raise_for_status()
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
        progress = tqdm(desc=target.name, total=total, unit="B", unit_scale=True, mininterval=2)
        with target.open("wb") as file, progress:
            for block in response.iter_content(1 << 16):
                progress.update(file.write(block))


def _is_transient(error: Exception) -> bool:
    if isinstance(error, requests.HTTPError):
        return error.response.status_code in _TRANSIENT_STATUS
    cut = requests.exceptions.ChunkedEncodingError  # raised for truncated bodies
    return isinstance(error, (requests.ConnectionError, requests.Timeout, cut))
