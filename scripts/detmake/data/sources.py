"""Find the annotation files and image folders of a dataset."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from detmake.errors import InputError
from detmake.named_paths import NamedPath

#: Name of each subset's annotation file in a dataset folder as Roboflow exports it.
ANNOTATION_FILE = "_annotations.coco.json"

_LAYOUT = (
    f"a folder with train/, valid/ (or val/) and, optionally, test/, each with {ANNOTATION_FILE} "
    "(COCO) and its images"
)


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


def named_paths(
    data: str | Path | Mapping[str, Any], is_made: Callable[[Path], bool]
) -> list[NamedPath]:
    """Return the files and folders of a dataset, by the keys that name them.

    Args:
        data: as for `locate`.
        is_made: whether a rule makes a file or folder. Images are left out if a rule makes them or
            their annotations.

    Raises:
        InputError: as for `locate`.
    """
    path = None if isinstance(data, Mapping) else Path(data)
    if path and not path.exists() and not is_made(path / "train" / ANNOTATION_FILE):
        return [NamedPath("data", path, "a dataset folder or a data.yaml")]
    located = locate(data)
    if located["test"] == located["val"]:
        del located["test"]
    named = []
    for subset, (file, root) in located.items():
        if path and not path.is_file():
            named.append(NamedPath("data", file, _LAYOUT))
            continue
        key = f"data: {path}: {subset}" if path else f"data.{subset}"
        named.append(NamedPath(f"{key}.ann-files", file, "a COCO annotation file"))
        if not is_made(file) and not is_made(root):
            named.append(NamedPath(f"{key}.data-roots", root, "a folder of images", is_folder=True))
    return named


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

    if isinstance(data, Mapping) and "names" in data:
        raise InputError(
            f"{source}: this is a data.yaml of Ultralytics (it has the key 'names'), whose labels "
            "are text files. detmake reads COCO annotations: export the dataset in that format, "
            f"or convert its labels.\n{expected}"
        )
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
