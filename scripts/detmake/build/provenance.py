"""What results were made from: Snakemake's records, kept beside the results."""

import json
from collections.abc import Callable, Mapping
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
        records: the record of each result, a JSON value, by the result's path.
    """
    content = {
        path: {"sha256": sha256(path), "record": record} for path, record in sorted(records.items())
    }
    text = json.dumps(content, indent=1, ensure_ascii=False)
    write_text(file, text.replace(f'"{file.parent.as_posix()}/', _FOLDER) + "\n")


def lost(file: Path, is_recorded: Callable[[str], bool]) -> dict[str, dict[str, Any]]:
    """Return the records that Snakemake lacks, by the paths of the results.

    Results that changed after they were recorded, or are missing, are left out.

    Args:
        file: the file that `write` wrote, perhaps in a copied folder.
        is_recorded: whether Snakemake has the record of a result, by the result's path.

    Raises:
        InputError: the file is damaged.
    """
    try:
        text = file.read_text(encoding="utf-8").replace(_FOLDER, f'"{file.parent.as_posix()}/')
        return {
            path: item["record"]
            for path, item in json.loads(text).items()
            if not is_recorded(path) and Path(path).is_file() and sha256(path) == item["sha256"]
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file}: expected what the results were made from, found a damaged file. Remove it to "
            "take the results as they are."
        ) from error
