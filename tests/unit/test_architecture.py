"""The library keeps to the import contracts in pyproject.toml."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_packages_import_only_what_they_may():
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
    command = ["lint-imports", "--no-cache", "--no-logo"]
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr


def test_packages_are_empty():
    """What a package's `__init__` imported would be a dependency of every script that uses it."""
    files = (ROOT / "scripts/detmake").glob("*/**/__init__.py")
    assert [file for file in files if file.read_text()] == []
