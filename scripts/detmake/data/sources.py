"""Where a dataset's files lie."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from detmake.errors import InputError

#: Name of a subset's annotation file in a dataset folder of Roboflow's layout.
ANNOTATION_FILE = "_annotations.coco.json"


def locate(
    data: str | Path | Mapping[str, Any], base: Path = Path(".")
) -> dict[str, tuple[Path, Path]]:
    """Return the annotation file and the image root of the subsets train, val and test.

    Only a `data.yaml` is read; annotation files and images need not exist yet. Where there is no
    test subset, val serves: the entry `test` then equals the entry `val`.

    Args:
        data: One of
            a mapping of `train`, `val` and optionally `test` to `ann-files` (a COCO annotation
            file) and optionally `data-roots` (the folder that its file names count from; by default
            the one of the annotation file);
            the path of a `data.yaml` with that mapping, optionally under an outer key `data`;
            the path of a folder with `train/`, `valid/` and `test/`, each with its images and
            `_annotations.coco.json`. `val/` is taken where it exists and `valid/` does not. The
            folder is held to have no test subset where it has train's annotations but no `test/`;
            one that does not exist, or is still being made, is taken to have all three.
        base: Folder that relative paths count from; those in a `data.yaml` count from that file.

    Raises:
        InputError: a key is missing, unknown or no path, or the `data.yaml` cannot be read.
    """
    if isinstance(data, Mapping):
        return _locate_subsets(data, base, "The key `data`")
    if not isinstance(data, str | Path):
        raise InputError(
            f"The key `data` is {data!r}; expected a mapping of train, val and test, or the path "
            "of a data.yaml or of a dataset folder."
        )
    path = base / data
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return _locate_subsets(_read_data_yaml(path), path.parent, str(path))
    train, val, test = path / "train", path / "valid", path / "test"
    if (path / "val").is_dir() and not val.is_dir():
        val = path / "val"
    if (train / ANNOTATION_FILE).is_file() and not test.is_dir():
        test = val
    folders = {"train": train, "val": val, "test": test}
    return {subset: (folder / ANNOTATION_FILE, folder) for subset, folder in folders.items()}


def _locate_subsets(data: Any, base: Path, source: str) -> dict[str, tuple[Path, Path]]:
    expected = (
        "Expected are train, val and optionally test, each with ann-files (the path of a COCO "
        "annotation file) and optionally data-roots (the path of the image folder)."
    )

    def keys(value: Any, name: str, required: set[str], optional: set[str]) -> None:
        if not isinstance(value, Mapping):
            raise InputError(f"{source}: {name} is {value!r}, not a mapping.\n{expected}")
        for key in value:
            if key not in required | optional:
                raise InputError(f"{source}: {name} has the unknown key {key!r}.\n{expected}")
        for key in sorted(required - set(value)):
            raise InputError(f"{source}: {name} lacks the key {key!r}.\n{expected}")

    keys(data, "its content", {"train", "val"}, {"test"})
    subsets = {}
    for subset in ("train", "val", "test"):
        if subset not in data:
            subsets[subset] = subsets["val"]
            continue
        keys(data[subset], subset, {"ann-files"}, {"data-roots"})
        for key, value in data[subset].items():
            if not isinstance(value, str | Path) or not str(value):
                raise InputError(f"{source}: {key} of {subset} is {value!r}.\n{expected}")
        annotation_file = base / data[subset]["ann-files"]
        image_root = annotation_file.parent
        if "data-roots" in data[subset]:
            image_root = base / data[subset]["data-roots"]
        subsets[subset] = (annotation_file, image_root)
    return subsets


def _read_data_yaml(path: Path) -> Any:
    try:
        content = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}). The key `data` must name a YAML file that "
            "exists, or a dataset folder."
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{path}: not YAML: {error}") from error
    if isinstance(content, dict) and set(content) == {"data"}:
        return content["data"]
    return content
