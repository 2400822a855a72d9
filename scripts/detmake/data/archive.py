"""Read and verify members of a public zip archive."""

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from detmake.errors import InputError

# Errors of zipfile on damaged archives. OSError: an offset before the file; RuntimeError: a member
# marked as encrypted or with an unknown compression; ValueError: a name that is not UTF-8.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError)


def read_members(archive: Path, digests: Mapping[str, str]) -> dict[str, bytes]:
    """Return the verified contents of the named members of a zip archive.

    Args:
        archive: zip file whose members share one top folder, as GitHub makes them.
        digests: hexadecimal SHA-256 of each member to read, by its path below the top folder (with
            forward slashes). Other members are not read, and nothing is written to disk.

    Returns:
        Contents by the same keys, in the same order.

    Raises:
        InputError: `archive` is missing or not a zip archive, or a member is missing or altered.
    """
    remedy = (
        f"Delete {archive}, if it still exists, and run again to download it; or set `data` to a "
        "folder that already holds the dataset."
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
                    found = hashlib.sha256(contents[name]).hexdigest()
                    if found != expected:
                        altered.append(f"{name} (SHA-256 {found}, expected {expected})")
                except _DAMAGED as error:
                    altered.append(f"{name} (unreadable: {error})")
    except FileNotFoundError as error:
        raise InputError(f"{archive}: no such file. Run again to download it.") from error
    except _DAMAGED as error:
        raise InputError(
            f"{archive}: not a complete zip archive ({error}); the download is truncated, or it is "
            f"a different file.\n{remedy}"
        ) from error
    if missing or altered:
        counts = [
            f"{len(names)} {what}, first {names[0]}"
            for what, names in (("altered", altered), ("missing", missing))
            if names
        ]
        raise InputError(
            f"{archive}: of {len(digests)} required members, {'; '.join(counts)}.\n"
            f"Expected these members exactly as published.\n{remedy}"
        )
    return contents
