"""What results were made from: Snakemake's records, kept beside the results."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detmake.artifacts import sha256, write_text
from detmake.errors import InputError

#: Stands for the folder of the results, which may be copied to one of another name.
_FOLDER = '"<results>/'


def write(file: Path, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the records of results, with the digests of the results themselves.

    Args:
        file: the file to write, in the folder of the results.
        records: the record of each result, a JSON value, by the path of a file or folder.
    """
    content = {
        path: {"sha256": _digest(Path(path)), "record": record}
        for path, record in sorted(records.items())
    }
    text = json.dumps(content, indent=1, ensure_ascii=False)
    write_text(file, text.replace(f'"{file.parent.as_posix()}/', _FOLDER) + "\n")


def read(file: Path) -> dict[str, dict[str, Any]]:
    """Return the records of results by their paths.

    Results that changed after they were recorded, or are missing, are left out.

    Args:
        file: the file that `write` wrote, perhaps in a copied folder.

    Raises:
        InputError: the file is damaged.
    """
    try:
        text = file.read_text(encoding="utf-8").replace(_FOLDER, f'"{file.parent.as_posix()}/')
        return {
            path: dict(item["record"])
            for path, item in json.loads(text).items()
            if Path(path).exists() and _digest(Path(path)) == item["sha256"]
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file}: expected what the results were made from, found a damaged file. Remove it to "
            "take the results as they are."
        ) from error


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents in a folder."""
    if path.is_file():
        return sha256(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = [f"{file.relative_to(path).as_posix()} {sha256(file)}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
