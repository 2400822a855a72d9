"""Tell whether a disk is full, since libraries report it in ways of their own, or not at all."""

import shutil
from pathlib import Path

_LITTLE = 2**20  # bytes; most results are larger


def is_full(folder: Path) -> bool:
    """Return whether the disk of a folder has no room for a file of the build."""
    return shutil.disk_usage(folder).free < _LITTLE
