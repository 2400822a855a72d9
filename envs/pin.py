"""Write the conda environments of the steps, with the versions of requirements.txt.

Run it where requirements.txt is installed: it reads each package's dependencies from its metadata.
"""

from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOLDER = Path(__file__).parent
LOCK = FOLDER.parent / "requirements.txt"

IMAGES = ["numpy", "opencv-python-headless", "tqdm"]
# pandas writes tables with tabulate.
OPENVINO = [*IMAGES, "openvino", "pandas", "tabulate"]
TORCH = [*OPENVINO, "onedl-mmcv", "onedl-mmdetection", "onedl-mmengine", "scikit-learn", "torch"]

#: For each environment, the title of its file and the packages that its scripts import.
ENVIRONMENTS = {
    "data": (
        "Datasets, their statistics, and downloads.",
        [*IMAGES, "pandas", "pillow", "pyyaml", "requests", "tabulate"],
    ),
    "training": (
        "Training, and evaluation and export of the snapshot.",
        [*TORCH, "pillow", "pycocotools", "requests"],
    ),
    "inference": (
        "Inference with OpenVINO, post-training quantization and deployment. Without torch.",
        [*OPENVINO, "nncf", "pillow", "pycocotools"],
    ),
    "nncf": ("Quantization-aware training.", [*TORCH, "nncf", "pycocotools"]),
    "suggestion": (
        "Measurements of `snakemake suggest`.",
        [*TORCH, "nncf", "pillow", "pycocotools", "pyyaml"],
    ),
    "reporting": (
        "Report, comparison, benchmark and the table of templates.",
        [*TORCH, "jinja2", "matplotlib", "pillow", "pycocotools", "pyyaml", "scipy"],
    ),
}

_FILE = """\
# {title}
# Written by envs/pin.py from requirements.txt: change versions there.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.11
  - pip
  - pip:
{pins}"""


def pins(packages: list[str], lock: Path = LOCK) -> list[str]:
    """Return the lines of a lock that pin these packages and their dependencies.

    Dependencies that the lock leaves out are skipped.

    Args:
        packages: names of distributions.
        lock: a file with lines `name==version`; all of these packages must be installed.
    """
    lines = [line for line in lock.read_text(encoding="utf-8").splitlines() if "==" in line]
    locked = {canonicalize_name(line.split("==")[0]): line for line in lines}
    needed: set[str] = set()
    waiting = [canonicalize_name(name) for name in packages]
    while waiting:
        name = waiting.pop()
        if name in locked and name not in needed:
            needed.add(name)
            waiting += [
                canonicalize_name(requirement.name)
                for requirement in map(Requirement, requires(name) or [])
                if not requirement.marker or requirement.marker.evaluate({"extra": ""})
            ]
    return [line for name, line in locked.items() if name in needed]


def environment(name: str) -> str:
    """Return the text of an environment's file."""
    title, packages = ENVIRONMENTS[name]
    return _FILE.format(title=title, pins="".join(f"      - {pin}\n" for pin in pins(packages)))


if __name__ == "__main__":
    for name in ENVIRONMENTS:
        (FOLDER / f"{name}.yaml").write_text(environment(name), encoding="utf-8")
