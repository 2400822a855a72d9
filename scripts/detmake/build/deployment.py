"""The archive that leaves the build: a model folder with the code that runs it."""

import json
import re
import zipfile
from pathlib import Path
from string import Template

from detmake.artifacts import staged
from detmake.build.dependencies import imported_modules
from detmake.errors import InputError

#: What the archive's code imports, and what that imports, from outside of the standard library.
REQUIREMENTS = ("numpy", "opencv-python-headless", "openvino", "openvino-telemetry")

_EPOCH = (1980, 1, 1, 0, 0, 0)  # so that equal content is an equal archive; ZIP knows none earlier


def write_archive(
    archive: Path, model: Path, demo: Path, readme: Path, lock: Path, license: Path
) -> None:
    """Write a ZIP archive, whole or not at all, that detects objects where Python is.

    Args:
        archive: the archive. Its files lie in a folder of its name.
        model: a model folder (`detmake.runtime.model_folder`) with its `performance.json`.
        demo: the script for the command line; it and the library's modules that it imports go
            into the archive as they are. They lie beside it or in the folder above.
        readme: template of its README, with `$` and the names of values in it.
        lock: pinned requirements, from which those of `REQUIREMENTS` are taken.
        license: the license.
    """
    description = json.loads((model / "config.json").read_text(encoding="utf-8"))
    performance = json.loads((model / "performance.json").read_text(encoding="utf-8"))
    width, height = description["input_size"]
    values = {
        "template": description["template"]["name"],
        "labels": ", ".join(description["labels"]),
        "input_size": f"{width}×{height}",
        "confidence_threshold": f"{description['confidence_threshold']:g}",
        "f_measure": f"{performance['f-measure']:.3f}",
        "subset": performance["annotations"],
    }
    library = demo.resolve().parents[1]
    texts = {
        "README.md": Template(readme.read_text(encoding="utf-8")).substitute(values),
        "requirements.txt": _requirements(lock),
        "LICENSE": license.read_text(encoding="utf-8"),
        "demo.py": demo.read_text(encoding="utf-8"),
    }
    for file in imported_modules(demo, library).values():
        texts[str(file.relative_to(library))] = file.read_text(encoding="utf-8")
    contents = {name: text.encode() for name, text in texts.items()}
    for file in sorted(path for path in model.iterdir() if path.is_file()):
        if file.name != "weights.pth":  # to train on from, and nothing to run
            contents[f"model/{file.name}"] = file.read_bytes()
    with staged(archive.parent) as scratch, zipfile.ZipFile(scratch / archive.name, "w") as zipped:
        for name, content in sorted(contents.items()):
            entry = zipfile.ZipInfo(f"{archive.stem}/{name}", _EPOCH)
            entry.external_attr = 0o644 << 16
            zipped.writestr(entry, content, zipfile.ZIP_DEFLATED)


def _requirements(lock: Path) -> str:
    pins = dict(re.findall(r"^([\w-]+)(==\S+)", lock.read_text(encoding="utf-8"), re.MULTILINE))
    missing = [name for name in REQUIREMENTS if name not in pins]
    if missing:
        raise InputError(f"{lock}: expected a pinned version of {', '.join(missing)}, found none.")
    return "".join(f"{name}{pins[name]}\n" for name in REQUIREMENTS)
