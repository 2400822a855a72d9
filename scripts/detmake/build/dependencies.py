"""Describe what a result depends on besides its input files: settings and library modules."""

import hashlib
import json
from collections.abc import Mapping
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any


def lines(name: str, value: Any) -> dict[str, str]:
    """Describe a setting, one line per value; a changed value changes its line.

    Args:
        name: name of the setting.
        value: a JSON value; mappings are described value by value.

    Returns:
        The lines, by dotted name: `{"pot_parameters.preset": 'pot_parameters.preset: "mixed"'}`.
    """
    if isinstance(value, Mapping) and value:
        return {
            dotted: line
            for key, item in value.items()
            for dotted, line in lines(f"{name}.{key}", item).items()
        }
    return {name: f"{name}: {json.dumps(value, ensure_ascii=False)}"}


def source_digests(script: Path) -> dict[str, str]:
    """Hash the modules below a script's folder that it imports, directly or indirectly.

    Returns:
        Hexadecimal SHA-256 of each file, by its path relative to the script's folder. The script
        itself and installed packages are not included.
    """
    folder = script.resolve().parent
    return {
        file.resolve().relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in imported_modules(script, folder).values()
    }


def imported_modules(script: Path, folder: Path) -> dict[str, Path]:
    """Return the file of each module below `folder` that a script imports, directly or indirectly.

    The keys are the names of the modules. Modules elsewhere are left out.
    """
    finder = ModuleFinder(path=[str(folder)])
    finder.run_script(str(script))
    return {
        name: Path(module.__file__)
        for name, module in sorted(finder.modules.items())
        if module.__file__ and name != "__main__"
    }
