"""Read from a public archive what a list of SHA-256 digests pins."""

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from detmake.errors import InputError

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
