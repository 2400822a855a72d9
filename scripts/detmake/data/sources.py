"""Find the annotation files and image folders of a dataset."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from detmake.errors import InputError

#: Name of each subset's annotation file in a dataset folder as Roboflow exports it.
ANNOTATION_FILE = "_annotations.coco.json"


def locate(data: str | Path | Mapping[str, Any]) -> dict[str, tuple[Path, Path]]:
    """Return the annotation file and the image root of the subsets train, val and test.

    Reads at most a `data.yaml`; annotation files and images need not exist yet. Without a test
    subset, the entry `test` equals the entry `val`. Relative paths start at the working directory;
    those in a `data.yaml` start at the folder of that file.

    Args:
        data: one of
            a mapping of `train`, `val` and optionally `test` to `ann-files` (a COCO annotation
            file) and optionally `data-roots` (the folder that its file names are relative to; by
            default the folder of the annotation file);
            the path of a `data.yaml` with that mapping, optionally under an outer key `data`;
            the path of a folder with `train/`, `valid/` (or `val/`) and `test/`, each with its
            images and `_annotations.coco.json`. If train's annotations exist and `test/` does not,
            there is no test subset. A folder that a rule has yet to write has all three subsets.

    Raises:
        InputError: a key is missing or unknown, a value is no path, or a data.yaml cannot be read.
    """
    if isinstance(data, Mapping):
        return _locate_subsets(data, Path(), "The key `data`")
    path = Path(data)
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
        "Expected train, val and optionally test, each with ann-files (the path of a COCO "
        "annotation file) and optionally data-roots (the path of the image folder)."
    )

    def keys(value: Any, name: str, required: set[str], optional: set[str]) -> None:
        if not isinstance(value, Mapping):
            raise InputError(f"{source}: {name} is {value!r}, not a mapping.\n{expected}")
        for key in value:
            if key not in required | optional:
                raise InputError(f"{source}: {name} has the unknown key {key!r}.\n{expected}")
        for key in sorted(required - set(value)):
            raise InputError(f"{source}: {name} is missing the key {key!r}.\n{expected}")

    keys(data, "its content", {"train", "val"}, {"test"})
    located = {}
    for subset in ("train", "val", "test"):
        given = data.get(subset, data["val"])
        keys(given, subset, {"ann-files"}, {"data-roots"})
        for key, value in given.items():
            if not isinstance(value, str | Path) or not str(value):
                raise InputError(f"{source}: {key} of {subset} is {value!r}.\n{expected}")
        file = base / given["ann-files"]
        root = base / given["data-roots"] if "data-roots" in given else file.parent
        located[subset] = (file, root)
    return located


def _read_data_yaml(path: Path) -> Any:
    try:
        content = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}). Set the key `data` to an "
            "existing YAML file or a dataset folder."
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{path}: not YAML: {error}") from error
    if isinstance(content, dict) and set(content) == {"data"}:
        return content["data"]
    return content
