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
    finder = ModuleFinder(path=[str(script.parent)])
    finder.run_script(str(script))
    digest = hashlib.sha256()
    for name, module in sorted(finder.modules.items()):
        if module.__file__ and name != "__main__":
            digest.update(f"{name}\0".encode() + Path(module.__file__).read_bytes())
    return digest.hexdigest()
