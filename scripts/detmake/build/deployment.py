"""Pack a model folder and the code that runs it into a self-contained archive."""

import json
import re
import zipfile
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from string import Template

from detmake.artifacts import MODEL_FILES, staged
from detmake.errors import InputError
from detmake.markdown_text import escaped

#: Packages that the archive's code needs, directly or indirectly, besides the standard library.
REQUIREMENTS = ("numpy", "opencv-python-headless", "openvino", "openvino-telemetry", "pillow")
#: What it needs to measure the model's accuracy, in addition.
VERIFICATION = (
    *("pandas", "pycocotools", "python-dateutil", "PyYAML", "tabulate", "tqdm", "tzdata"),
)

_EPOCH = (1980, 1, 1, 0, 0, 0)  # ZIP's earliest; a fixed time keeps the archive reproducible


def write_archive(
    archive: Path,
    model: Path,
    demo: Path,
    modules: Iterable[Path],
    readme: Path,
    lock: Path,
    license: Path,
    notice: Path,
    card: str,
    weights: str,
) -> None:
    """Write a self-contained archive that runs the detector wherever Python 3.11 to 3.13 is.

    The archive, a ZIP file, is written atomically.

    Args:
        archive: the file to write. Its content lies in one folder of the same name.
        model: a model folder (`detmake.runtime.model_folder`) with its `performance.json`.
        demo: the command-line script, which is copied unchanged.
        modules: the library modules that it imports, which are copied unchanged. The library lies
            in the folder above the script's.
        readme: template of the archive's README, for `string.Template`.
        lock: pinned requirements; the versions of `REQUIREMENTS` and `VERIFICATION` are copied
            from it.
        license: the license.
        notice: template of the notice on licenses, likewise.
        card: the model card.
        weights: what the model's weights come from, for the notice.

    Raises:
        InputError: if `lock` pins no version of one of these packages.
    """
    description = json.loads((model / "config.json").read_text(encoding="utf-8"))
    performance = json.loads((model / "performance.json").read_text(encoding="utf-8"))
    width, height = description["input_size"]
    values = {
        "template": escaped(description["template"]["name"]),
        "labels": ", ".join(map(escaped, description["labels"])),
        "input_size": f"{width}×{height}",
        "confidence_threshold": f"{description['confidence_threshold']:g}",
        "weights": weights,
    }
    pins = dict(re.findall(r"^([\w-]+)(==\S+)", lock.read_text(encoding="utf-8"), re.MULTILINE))
    if missing := [name for name in (*REQUIREMENTS, *VERIFICATION) if name not in pins]:
        raise InputError(f"{lock}: expected a pinned version of {', '.join(missing)}, found none.")
    verification = ["-r requirements.txt\n", *(f"{name}{pins[name]}\n" for name in VERIFICATION)]
    contents = {
        "README.md": Template(readme.read_text(encoding="utf-8")).substitute(values).encode(),
        "MODEL_CARD.md": card.encode(),
        "NOTICE": Template(notice.read_text(encoding="utf-8")).substitute(values).encode(),
        "requirements.txt": "".join(f"{name}{pins[name]}\n" for name in REQUIREMENTS).encode(),
        "requirements-verify.txt": "".join(verification).encode(),
        "LICENSE": license.read_bytes(),
        "demo.py": demo.read_bytes(),
    }
    library = demo.resolve().parents[1]
    for file in modules:
        contents[str(file.resolve().relative_to(library))] = file.read_bytes()
    # Nothing else that lies in the folder; nor do strangers learn where the dataset was.
    for name in MODEL_FILES.values():
        contents[f"model/{name}"] = (model / name).read_bytes()
    figures = {key: value for key, value in performance.items() if key != "annotations"}
    contents["model/performance.json"] = json.dumps(figures, indent=2).encode()
    sums = [f"{sha256(data).hexdigest()}  {name}\n" for name, data in sorted(contents.items())]
    contents["SHA256SUMS"] = "".join(sums).encode()
    with staged(archive.parent) as scratch, zipfile.ZipFile(scratch / archive.name, "w") as zipped:
        for name, content in sorted(contents.items()):
            entry = zipfile.ZipInfo(f"{archive.stem}/{name}", _EPOCH)
            entry.external_attr = 0o644 << 16
            zipped.writestr(entry, content, zipfile.ZIP_DEFLATED)
