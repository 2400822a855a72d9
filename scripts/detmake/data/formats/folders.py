"""Find images and their label files in folders."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from detmake.data.findings import Findings


def names_in(folder: Path, suffixes: str | tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder in `folder`, itself included, with its files of these suffixes, sorted.

    The folders are relative to `folder` ("" is itself). Hidden ones are left out. Raises OSError
    for a folder that cannot be read.
    """

    def fail(error: OSError) -> None:
        raise error

    for path, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names = sorted(n for n in files if n.lower().endswith(suffixes) and not n.startswith("."))
        if names:
            yield os.path.normpath(os.path.relpath(path, folder)).removeprefix("."), names


def by_stem(names: Sequence[str]) -> dict[str, list[str]]:
    """Return file names by their stem."""
    stems = defaultdict(list)
    for name in names:
        stems[os.path.splitext(name)[0]].append(name)
    return stems


def refuse_shared_stems(findings: Findings, images: Sequence[str]) -> None:
    """Refuse images that differ in their suffix only: label files are found by the stem."""
    findings.refuse(
        "names that several images share",
        [" and ".join(names) for names in by_stem(sorted({*images})).values() if len(names) > 1],
        "A label file belongs to the image of its name, whatever the suffix: rename or remove one "
        "of the images.",
    )
