"""Download a public file, and check it against the digest in its name."""

import hashlib
import itertools
import logging
import os
import re
import sys
import time
from pathlib import Path

import requests
from tqdm import tqdm

from detmake.errors import InputError

ATTEMPTS = 4
WAIT_S = 2.0  # before the second attempt, doubled before each later one
TIMEOUT_S = (10.0, 60.0)  # to connect; between two blocks of data

_TRANSIENT_STATUS = {408, 429, 500, 502, 503, 504}

log = logging.getLogger("detmake")


def download(url: str, target: Path, remedy: str) -> None:
    """Download ``url`` to the file ``target``, with progress on standard error.

    The file appears whole or not at all: a body shorter than its declared length, or a chunked one
    without its end, is a fault. (A server that declares neither cannot be checked here: digests of
    the content are for that.) Transient faults are tried again, from the first byte, since
    GitHub makes its archives on request and serves no ranges of them.

    Args:
        url: What to download, by HTTP or HTTPS.
        target: Its folder is made where absent.
        remedy: Sentences for the user, what to do where the download fails.

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
                        f"{url}: download failed at attempt {attempt}: {error}\n{remedy}"
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


def verify_digest(path: Path) -> None:
    """Check a file against the digest that its name ends in: ``-<eight digits>.pth``.

    OpenMMLab and torchvision name their checkpoints so; the digits are the first ones of the
    file's SHA-256, in lower case hexadecimal.

    Raises:
        InputError: The name holds no digest, or the content has another one.
    """
    digits = re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    if not digits:
        raise InputError(
            f"{path}: found no digest in the name, expected one that ends in `-` and the first "
            "eight hexadecimal digits of the file's SHA-256, then `.pth`.\n"
            "Take a file that is published under such a name; or download it yourself and give "
            "the path instead of the address."
        )
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()[:8]
    if found != digits[1]:
        raise InputError(
            f"{path}: found a file whose SHA-256 begins with {found}, expected {digits[1]}, as its "
            "name says; it was cut short or altered, or it is another file.\n"
            "Delete it, if it is still there, and run again to download it anew; or put the right "
            "file there by hand."
        )


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
