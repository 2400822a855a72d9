"""Programs of Debian that tests start."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from filelock import FileLock


def can_install() -> bool:
    """Return whether packages can be installed: by root, with apt-get."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(*packages: str) -> None:
    """Install packages of Debian; one worker at a time."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with FileLock(Path(tempfile.gettempdir(), "detmake-apt.lock")):
        for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            subprocess.run(["apt-get", "-qq", *arguments], env=environment, check=True)
