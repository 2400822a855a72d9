"""Explain what is wrong with a path that the configuration names."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

_MAX_NAMES = 8  # names that a message lists


@dataclass(frozen=True)
class NamedPath:
    """A file or folder that the configuration names.

    Attributes:
        key: the key that names it.
        path: the path, which may be relative to the working directory.
        expected: what should be there, a noun phrase.
        is_folder: whether that is a folder.
    """

    key: str
    path: Path
    expected: str
    is_folder: bool = False

    def mistake(self, others: Iterable[str]) -> str | None:
        """Return what is wrong and what is there instead; None if the path is as it should be.

        Args:
            others: paths that do not exist yet, but may have been meant.
        """
        # Of `os.path`, since `Path` raises errors where it may not look, or a name is too long.
        if os.path.isdir(self.path) if self.is_folder else os.path.isfile(self.path):
            return None
        if os.path.exists(self.path):
            kind = "a file" if self.is_folder else "a folder"
            return f"{self.key}: {self.path} is {kind}, expected {self.expected}"
        way = (*reversed(self.path.parents), self.path)
        missing = [path for path in way if not os.path.exists(path)]
        folder = missing[0].parent
        names = _names(folder)
        meant = [str(folder / name) for name in names] + list(others)
        likeness, likely = max(
            (SequenceMatcher(None, str(path), other).ratio(), other)
            for path in missing
            for other in [*meant, ""]
        )
        hint = f" (did you mean {likely}?)" if likeness > 0.7 else ""
        there = ", ".join(names[:_MAX_NAMES] + ["…"] * (len(names) > _MAX_NAMES)) or "nothing"
        return (
            f"{self.key}: {self.path} does not exist{hint}, expected {self.expected}; "
            f"{folder.absolute()} holds {there}"
        )


def _names(folder: Path) -> list[str]:
    """Return what a folder holds, hidden files aside; nothing if it cannot be read."""
    try:
        return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        return []
