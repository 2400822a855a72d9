"""What a result depends on besides its input files: the library's source."""

import hashlib
from modulefinder import ModuleFinder
from pathlib import Path


def source_digest(script: Path) -> str:
    """Digest of the modules beside a script that it imports, directly or through others.

    The script itself is not part of it, nor are installed packages.

    Args:
        script: a Python file; only modules below its folder count.

    Returns:
        Hexadecimal SHA-256.
    """
    digest = hashlib.sha256()
    for name, file in imported_modules(script, script.parent).items():
        digest.update(f"{name}\0".encode() + file.read_bytes())
    return digest.hexdigest()


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
