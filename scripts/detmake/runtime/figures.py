"""What figures speak of: the model, the annotations, and the machine that measured."""

import json
import platform
import re
import sys
from collections.abc import Iterable
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

from detmake.artifacts import sha256
from detmake.errors import InputError
from detmake.packages import COMPUTING

#: Flags in /proc/cpuinfo of instructions for int8: VNNI and AMX of x86, and Arm's.
_INT8 = {"amx_int8", "avx512_vnni", "avx_vnni", "avx_vnni_int8", "asimddp", "i8mm"}


def subject(model: Iterable[Path], subset: Path, predictions: Path, device: str) -> dict[str, Any]:
    """Return the entries of `performance.json` on what its figures speak of.

    Args:
        model: the files of the model.
        subset: the prepared subset that it was measured on.
        predictions: the file of its detections, which the figures come from.
        device: the device that ran it: torch's `cpu` or `cuda`, or one of OpenVINO, such as `CPU`.

    Returns:
        `sha256`: of each file of the model, of the subset and of the predictions, by name.
        `measured_with`: the device, `cpu`, and the version of each imported package that figures
        depend on.
    """
    distributions = packages_distributions()
    names = {distributions[name][0] for name in COMPUTING if name in sys.modules}
    return {
        "sha256": {
            "model": {file.name: sha256(file) for file in model},
            "subset": {subset.name: sha256(subset)},
            "predictions": {predictions.name: sha256(predictions)},
        },
        "measured_with": {
            "device": device,
            **cpu(),
            "versions": {name: version(name) for name in sorted(names)},
        },
    }


def cpu(info: Path = Path("/proc/cpuinfo")) -> dict[str, Any]:
    """Describe this machine's CPU.

    Args:
        info: Linux's description of the CPU.

    Returns:
        `cpu`: its name. `int8_instructions`: those that multiply 8-bit integers, by the names that
        Linux gives them. Each is None where it is not known.
    """
    try:
        text = info.read_text(encoding="utf-8")
    except OSError:  # another system
        return {"cpu": platform.processor() or None, "int8_instructions": None}
    name = re.search(r"^model name\s*: (.+)", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*: (.+)", text, re.MULTILINE)
    return {
        "cpu": name[1].strip() if name else platform.processor() or None,
        "int8_instructions": sorted(_INT8.intersection(flags[1].split())) if flags else None,
    }


def misfit(
    performance: Path, parts: Iterable[str] = ("model", "subset", "predictions")
) -> str | None:
    """Compare a `performance.json` with what lies beside it, and the annotations of its run.

    Args:
        performance: the file.
        parts: what to compare.

    Returns:
        None if the figures speak of this model, these annotations and these predictions, or else
        what does not fit, or why the file cannot be read.
    """
    try:
        content = json.loads(performance.read_text(encoding="utf-8"))
    except ValueError as error:
        return f"cannot be read as JSON: {error}"
    recorded = content.get("sha256") if isinstance(content, dict) else None
    if not recorded:
        return "does not say which model it speaks of"
    if (
        not isinstance(recorded, dict)
        or not all(isinstance(files, dict) for files in recorded.values())
        or not (recorded.get("model") and recorded.get("subset"))
    ):
        return (
            "cannot be read: expected `sha256` to be a mapping of model, subset and predictions to "
            f"digests by file name, found {json.dumps(recorded):.60}"
        )
    folder = performance.parent
    run = folder if "weights.pth" in recorded["model"] else folder.parent
    places = {"model": folder, "subset": run / "dataset", "predictions": folder}
    for what in parts:
        place = places[what]
        for name, digest in recorded.get(what, {}).items():  # older figures lack predictions
            if not (place / name).is_file():
                return f"{what} missing: {place / name}"
            if sha256(place / name) != digest:
                other = "other" if what == "predictions" else "another"
                return f"speaks of {other} {what} than {place / name}"
    return None


def changed_files(sums: Path, required: Iterable[str]) -> list[str]:
    """Compare files with their recorded digests, as `sha256sum --check` does.

    Args:
        sums: a file in the format of `sha256sum`, whose names count from its folder.
        required: names that it must have, at least.

    Returns:
        The names of files that are missing or have another content.

    Raises:
        InputError: there is no such file, it is damaged, or it lacks a required name.
    """
    try:
        lines = sums.read_text(encoding="utf-8").splitlines()
        digests = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except (OSError, ValueError) as error:
        raise InputError(
            f"{sums}: expected the digests of the archive, found none ({error}). Unpack it again."
        ) from error
    if lacking := [name for name in required if name not in digests]:
        raise InputError(
            f"{sums}: expected the digests of the archive, found none for {lacking[0]}. "
            "Unpack it again."
        )
    files = {name: sums.parent / name for name in digests}
    return [
        name for name, file in files.items() if not file.is_file() or sha256(file) != digests[name]
    ]
