"""Write the conda environments of the steps, pinned as requirements.txt pins them.

Runs where requirements.txt is installed: what a package needs is read from its metadata.
"""

from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOLDER = Path(__file__).parent
LOCK = FOLDER.parent / "requirements.txt"

IMAGES = ["numpy", "opencv-python-headless", "pillow", "tqdm"]
# pandas writes tables with tabulate.
OPENVINO = [*IMAGES, "openvino", "pandas", "pycocotools", "tabulate"]
TORCH = [*OPENVINO, "onedl-mmcv", "onedl-mmdetection", "onedl-mmengine", "scikit-learn", "torch"]

#: By environment: how its file is headed, and what the scripts of this kind of step import.
ENVIRONMENTS = {
    "data": ("Datasets and downloads.", [*IMAGES, "pyyaml", "requests"]),
    "training": (
        "Training, and what is made with the snapshot: evaluation and export.",
        [*TORCH, "requests"],
    ),
    "inference": (
        "Inference with OpenVINO, post-training quantization and deployment. Without torch.",
        [*OPENVINO, "nncf"],
    ),
    "nncf": ("Quantization-aware training.", [*TORCH, "nncf"]),
    "reporting": ("Comparison, benchmark and table of templates.", [*TORCH, "pyyaml"]),
}

_FILE = """\
# {title}
# Written by envs/pin.py from requirements.txt, where the versions are kept.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.11
  - pip
  - pip:
{pins}"""


def pins(packages: list[str], lock: Path = LOCK) -> list[str]:
    """The lines of a lock that pin these packages and all that they need.

    What the lock leaves out is left out.

    Args:
        packages: names of distributions.
        lock: a file of lines `name==version`; all of them are installed.
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
    """The text of an environment's file."""
    title, packages = ENVIRONMENTS[name]
    return _FILE.format(title=title, pins="".join(f"      - {pin}\n" for pin in pins(packages)))


if __name__ == "__main__":
    for name in ENVIRONMENTS:
        (FOLDER / f"{name}.yaml").write_text(environment(name), encoding="utf-8")
