"""What results were made from: Snakemake's records, kept beside the results."""

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
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


def steps(
    wanted: Iterable[str], record_of: Callable[[str], Mapping[str, Any] | None]
) -> list[dict[str, Any]]:
    """Return the jobs that made some results, directly and indirectly.

    Args:
        wanted: paths of the results.
        record_of: returns the record of a path: `rule`, `input` and `log`; None if it has none.

    Returns:
        For each job, in the order of a build: `name` (its rule), `files` (those of its outputs that
        were needed), `needs` (indices of other jobs) and `note`, the time that it took and its
        memory, if they were measured. Results without a record are left out, with all that only
        they need.
    """
    jobs: dict[tuple[str, ...], dict[str, Any]] = {}
    makers: dict[str, tuple[str, ...] | None] = {}

    def visit(path: str) -> tuple[str, ...] | None:
        if path not in makers:
            record = record_of(path)
            makers[path] = (record["rule"], *record["log"]) if record else None
            if key := makers[path]:  # each job has its own log
                needs = {maker for needed in record["input"] if (maker := visit(needed))}
                job = jobs.setdefault(key, {"files": [], "needs": set(), **_told(*key)})
                job["files"].append(path)
                job["needs"] |= needs
        return makers[path]

    for path in wanted:
        visit(path)
    numbers = {key: number for number, key in enumerate(jobs)}
    return [
        {**job, "files": sorted(job["files"]), "needs": sorted(map(numbers.get, job["needs"]))}
        for job in jobs.values()
    ]


def _told(rule: str, *logs: str) -> dict[str, str]:
    """Return the name of a job, and what its benchmark file says, which is named like its log."""
    told = {"name": rule.replace("_", " "), "note": ""}
    # A rule of a user's own may log elsewhere.
    for log in (path for path in map(Path, logs) if len(path.parents) > 1):
        file = log.parents[1] / "benchmarks" / f"{log.stem}.tsv"
        if file.exists():
            with file.open(encoding="utf-8", newline="") as lines:
                row = next(csv.DictReader(lines, delimiter="\t"))
            told["note"] = row["h:m:s"]
            with suppress(ValueError):  # NA after less than a moment
                told["note"] += f", {float(row['max_rss']) / 1000:.1f} GB of memory"
    return told


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents in a folder."""
    if path.is_file():
        return sha256(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = [f"{file.relative_to(path).as_posix()} {sha256(file)}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
