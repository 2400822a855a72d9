"""Describe what a result depends on besides its input files: settings, code and packages."""

import ast
import functools
import hashlib
import json
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from detmake.artifacts import file_state, write_text
from detmake.build import syntax
from detmake.packages import COMPUTING


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


@dataclass(frozen=True)
class Code:
    """What a script runs.

    Attributes:
        files: digests (`syntax.digest`) of the script and of the modules below its folder that it
            imports, directly or indirectly, by path relative to that folder.
        packages: those of `COMPUTING` that these files import.
    """

    files: Mapping[str, str]
    packages: Collection[str]


def code_of_scripts(folder: Path, cache: Path | None = None) -> dict[str, Code]:
    """Find what each script below a folder runs.

    A script is a Python file outside of packages. Imports count from `folder`.

    Args:
        folder: the folder of the scripts and their packages.
        cache: file with the outcome. It is used while size, times and inode of all Python files
            stay as they were. Otherwise, or if it is None, absent or damaged, everything is found
            anew. Processes may share it, and it need not be writable.

    Returns:
        The code by the script's path relative to `folder`.

    Raises:
        SyntaxError: a file is not Python.
    """
    # Without the links by which Emacs locks a file.
    files = sorted(file for file in folder.rglob("*.py") if not file.name.startswith("."))
    state = _state(files)
    if cache:
        with suppress(OSError, ValueError, TypeError, KeyError):  # absent or damaged
            found = json.loads(cache.read_bytes())
            if found["state"] == state:
                return {script: Code(**code) for script, code in found["scripts"].items()}
    scripts = _find({file.relative_to(folder).as_posix(): file for file in files})
    if cache:
        with suppress(OSError):  # not writable
            found = {script: asdict(code) for script, code in scripts.items()}
            write_text(cache, json.dumps({"state": state, "scripts": found}))
    return scripts


def versions(packages: Collection[str], environment: Path, installed: bool) -> dict[str, str]:
    """Return the public versions (`2.13.0`, not `2.13.0+cpu`) of packages in an environment.

    Args:
        packages: names of distributions; those that the environment lacks are left out.
        environment: conda environment, with lines `- name==version`.
        installed: whether the packages of the running Python count, not what `environment` pins.
    """
    pins = re.findall(r"- ([\w.-]+)==(\S+)", environment.read_text(encoding="utf-8"))
    return {
        package: (_installed_version(package) if installed else pin).partition("+")[0]
        for package, pin in pins
        if package in packages
    }


@functools.cache
def _installed_version(package: str) -> str:
    try:
        distribution = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return "not installed"
    # `distribution.version` parses the whole description, which takes ten times as long.
    found = re.search(r"^Version: (\S+)", distribution.read_text("METADATA") or "", re.MULTILINE)
    return found[1] if found else distribution.version


def _state(files: Collection[Path]) -> str:
    """Return a digest of the names, sizes, times and inodes of files."""
    states = [(str(file), file_state(file.stat())) for file in files]
    return hashlib.sha256(repr(states).encode()).hexdigest()


def _find(files: Mapping[str, Path]) -> dict[str, Code]:
    """Return the code of the scripts among some files, which are given by their relative paths."""
    digests, imports = {}, {}
    for name, file in files.items():
        tree = ast.parse(file.read_bytes(), filename=file)
        digests[name] = syntax.digest(tree)
        imports[name] = syntax.imports(tree, ".".join(Path(name).parts[:-1]))
    scripts = {}
    for script in files:
        if (Path(script).parent / "__init__.py").as_posix() in files:
            continue
        reached, waiting = {script: digests[script]}, [script]
        while waiting:
            for imported in imports[waiting.pop()]:
                for file in _modules(imported) & files.keys() - reached.keys():
                    reached[file] = digests[file]
                    waiting.append(file)
        tops = {name.partition(".")[0] for file in reached for name in imports[file]}
        packages = sorted(package for top, package in COMPUTING.items() if top in tops)
        scripts[script] = Code(dict(sorted(reached.items())), packages)
    return scripts


def _modules(name: str) -> set[str]:
    """Return the files that may be a module and the packages that hold it."""
    parts = name.split(".")
    paths = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    return {file for path in paths for file in (f"{path}.py", f"{path}/__init__.py")}
