"""Find images and their label files in folders."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from detmake.data.findings import Findings


def names_in(folder: Path, suffixes: str | tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder in `folder`, itself included, with its files of these suffixes, sorted.

    The folders are relative to `folder` ("" is itself). Hidden ones are left out. A folder that
    links show several times counts once, beside a link to it under its own name. Raises OSError for
    a folder that cannot be read.
    """

    def fail(error: OSError) -> None:
        raise error

    seen = set()
    for path, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        state = os.stat(path)
        if (state.st_dev, state.st_ino) in seen:  # a link to a folder above, or a second one
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        folders[:] = sorted(
            (name for name in folders if not name.startswith(".")),
            key=lambda name: (os.path.islink(os.path.join(path, name)), name),
        )
        names = sorted(n for n in files if n.lower().endswith(suffixes) and not n.startswith("."))
        if names:
            yield os.path.normpath(os.path.relpath(path, folder)).removeprefix("."), names


def by_stem(names: Sequence[str]) -> dict[str, list[str]]:
    """Return file names by their stem."""
    stems = defaultdict(list)
    for name in names:
        stems[os.path.splitext(name)[0]].append(name)
    return stems


def refuse_shared_stems(findings: Findings, kind: str, names: Sequence[str]) -> None:
    """Refuse files that differ in their suffix only: images and labels are found by the stem.

    Args:
        findings: refuses them.
        kind: what the files are, a plural noun.
        names: names of the files.
    """
    findings.refuse(
        f"names that several {kind} share",
        [" and ".join(names) for names in by_stem(sorted({*names})).values() if len(names) > 1],
        "An image and its label file have the same name up to the suffix: rename or remove one of "
        "each group.",
    )


def forms_of(root: Path, name: str) -> list[str]:
    """Return the names that an image may have below a root, where the annotations say this one.

    Names may be of Windows, with backslashes, or begin with the root's own name, as in the exports
    of Label Studio.
    """
    forms = [name, name.replace("\\", "/")]
    forms += [form.removeprefix(f"{root.name}/") for form in forms if root.name.strip(".")]
    return list(dict.fromkeys(forms))


def form_that_is_there(root: Path, name: str) -> str:
    """Return the first form of a name (`forms_of`) that exists, or else the one with slashes."""
    forms = forms_of(root, name)
    if len(forms) == 1:
        return name
    there = (form for form in forms if os.path.exists(root / form))
    return next(there, name.replace("\\", "/"))
