"""What a result depends on besides its input files: settings, and the library's source."""

import hashlib
import json
from collections.abc import Mapping
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any


def lines(name: str, value: Any) -> dict[str, str]:
    """Describe a setting in lines of text, one for each value in it, that differ where it differs.

    Args:
        name: what the setting is called.
        value: what JSON can hold; mappings are described value by value.

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
    """Digests of the modules beside a script that it imports, directly or through others.

    The script itself is not part of it, nor are installed packages.

    Args:
        script: a Python file; only modules below its folder count.

    Returns:
        Hexadecimal SHA-256 of each file by its path below the script's folder.
    """
    folder = script.resolve().parent
    return {
        file.resolve().relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in imported_modules(script, folder).values()
    }


def imported_modules(script: Path, folder: Path) -> dict[str, Path]:
    """Files of the modules that a script imports, directly or through others, by name.

    Args:
        script: a Python file.
        folder: only modules below it count, not installed packages.
    """
    finder = ModuleFinder(path=[str(folder)])
    finder.run_script(str(script))
    return {
        name: Path(module.__file__)
        for name, module in sorted(finder.modules.items())
        if module.__file__ and name != "__main__"
    }
