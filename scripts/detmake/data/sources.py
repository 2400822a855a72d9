"""Find out what a dataset is, and where its subsets are."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from detmake.data.annotated import Share, Source
from detmake.data.formats import readers, yolo
from detmake.data.formats.folders import names_in
from detmake.errors import InputError
from detmake.image_files import IMAGE_SUFFIXES
from detmake.named_paths import NamedPath

#: Name of each subset's annotation file in a dataset folder as Roboflow exports it.
ANNOTATION_FILE = "_annotations.coco.json"

_CVAT_FILE = "annotations.xml"
_FORMATS = {".json": "coco", ".xml": "cvat"}  # of one file, by its suffix
_DATA_YAMLS = ("data.yaml", "data.yml", "dataset.yaml")
_LAYOUT = (
    f"a folder with train/, valid/ (or val/) and, optionally, test/, each with {ANNOTATION_FILE} "
    "(COCO) and its images"
)
#: What `locate` looks for in a folder.
_LOOKED_FOR = f"""\
- {", ".join(_DATA_YAMLS)}: of Ultralytics (YOLO), such as
  {{train: images, names: [cat, dog]}}, or with train, val and test
- Annotations/ and JPEGImages/, or annotations/ and images/, with XML files (Pascal VOC)
- in train/, valid/ (or val/) and test/, or in the folder itself, one of
  - {ANNOTATION_FILE} (COCO)
  - {_CVAT_FILE} (CVAT for images 1.1)
  - XML files beside the images, also in folders below (Pascal VOC)
  - one JSON file, beside images/ or in annotations/ (COCO)
Anything else: name one file of all images, `data: {{source: all.json, split: auto}}`, or what each
subset has, `data: {{train: {{ann-files: …, data-roots: …}}, val: …}}`; ann-files may be a folder of
XML files."""

#: Images of each folder that are looked for, to find out where names start: some may be missing.
_TRIED_NAMES = 100
_AUTO_SHARE = 0.15  # of each subset that is missing, of the images
_OPTIONS = ("split", "group", "groups", "seed", "classes", "on_leak")

_Made = Callable[[Path], bool]


@contextmanager
def _reading() -> Iterator[None]:
    """Turn errors of the system, such as missing permissions, into `InputError`."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}).") from error


@_reading()
def locate(
    data: str | Path | Mapping[str, Any], is_made: _Made = lambda path: False
) -> dict[str, Source]:
    """Return where the images of the subsets train, val and test are, and in which format.

    Reads at most a `data.yaml` and names of files; images and annotations that a rule makes need
    not exist yet. Without a test subset, the entry `test` equals the entry `val`. Relative paths
    start at the working directory; those in a `data.yaml` start at the folder of that file.

    Args:
        data: one of
            the path of a folder (`_LOOKED_FOR` says what may be in it), of a COCO or CVAT file, or
            of a `data.yaml`. If train's COCO file is there or to be made, the folder is in
            Roboflow's layout. One that a rule has yet to write has all three subsets;
            a mapping of `train`, `val` and optionally `test` to `ann-files` (a COCO or CVAT file,
            or a folder of VOC's XML files) and optionally `data-roots` (the folder that file names
            are relative to; by default the folder of the annotations);
            a mapping with such a path as `source`.
            Both mappings may have `split` ("auto", or shares of `val` and `test`: subsets to take
            from the images of train), `group` and `groups` (see `Share`), `seed`, `classes` (a
            list, or a mapping of new names to lists of names), and `on_leak` (see `leaks.check`).
        is_made: whether a rule makes a file or folder.

    Raises:
        InputError: nothing was found, a key is missing or unknown, a value is of a wrong type, or a
            file cannot be read.
    """
    name, options = "The key `data`", {}
    if isinstance(data, Mapping):
        options = {key: data[key] for key in _OPTIONS if key in data}
        data = {key: value for key, value in data.items() if key not in _OPTIONS}
        if "source" in data and len(data) > 1:
            others = ", ".join(key for key in data if key != "source")
            raise InputError(f"{name} has source and {others}. Remove one of them.")
        data = data.get("source", data)
    options.pop("on_leak", None)  # it says nothing about where images are
    if isinstance(data, Mapping):
        found = _subsets(data, Path(), name)
    else:
        name = str(data)
        found = _find(Path(data), is_made)
    if classes := options.pop("classes", None):
        names = _class_names(classes)
        found = {subset: replace(source, classes=names) for subset, source in found.items()}
    return _split(found, name, **options)


@_reading()
def with_val(
    data: str | Path | Mapping[str, Any], is_made: _Made = lambda path: False
) -> str | dict[str, Any]:
    """Return `data` as it is or, if it has no val subset, with `split: auto`.

    A path that does not exist stays as it is, too (`named_paths`).

    Raises:
        InputError: as for `locate`.
    """
    given = dict(data) if isinstance(data, Mapping) else str(data)
    path = given.get("source") if isinstance(given, dict) else given
    if path and not Path(path).exists() and not _makes(Path(path), is_made):
        return given
    try:
        locate(given, is_made)
    except InputError as error:
        split = {**(given if isinstance(given, dict) else {"source": given})}
        try:
            split.setdefault("split", "auto")
            locate(split, is_made)
        except InputError:
            raise error from None
        return split
    return given


@_reading()
def named_paths(data: str | Path | Mapping[str, Any], is_made: _Made) -> list[NamedPath]:
    """Return the files and folders of a dataset, by the keys that name them.

    Args:
        data: as for `locate`.
        is_made: whether a rule makes a file or folder. Images are left out if a rule makes them or
            their annotations.

    Raises:
        InputError: as for `locate`.
    """
    key, path = "data", data
    if isinstance(data, Mapping):
        key, path = "data.source", data.get("source")
    path = Path(path) if path else None
    if path and not path.exists() and not _makes(path, is_made):
        return [NamedPath(key, path, "a dataset folder, a data.yaml or an annotation file")]
    named: dict[Source, list[NamedPath]] = {}
    for subset, source in locate(data, is_made).items():
        if source.whole in named:
            continue
        if path and not path.is_file() and source.format != "yolo":
            expected = _LAYOUT if source.format == "coco" else "annotations, as for train"
            paths = [NamedPath(key, source.annotations, expected, source.format == "voc")]
        else:
            file = source.annotations if source.format == "yolo" else path
            prefix = f"{key}: {file}: {subset}" if path else f"data.{subset}"
            paths = _paths_of(source, prefix, is_made)
        named[source.whole] = paths
    groups = data.get("groups") if isinstance(data, Mapping) else None
    if groups:
        expected = "a CSV file with the columns image and group"
        named_groups = NamedPath("data.groups", Path(groups), expected)
        return [named_groups, *(path for paths in named.values() for path in paths)]
    return [path for paths in named.values() for path in paths]


def _paths_of(source: Source, prefix: str, is_made: _Made) -> list[NamedPath]:
    """Return what the keys of one subset name."""
    if source.format == "yolo":
        expected = "a folder of images or a .txt list"
        if prefix.endswith("test"):
            expected += " (without one, remove this line: val serves as test)"
        hint = " (its path may count from the folder of the data.yaml)"
        return [
            NamedPath(
                prefix,
                part,
                expected if part.is_relative_to(source.root) else expected + hint,
                part.suffix != ".txt",
            )
            for part in source.parts
        ]
    expected = "a COCO or CVAT annotation file, or a folder of Pascal VOC's XML files"
    is_folder = source.format == "voc"
    paths = [NamedPath(f"{prefix}.ann-files", source.annotations, expected, is_folder)]
    if not is_made(source.annotations) and not is_made(source.root):
        key = f"{prefix}.data-roots"
        paths.append(NamedPath(key, source.root, "a folder of images", is_folder=True))
    return paths


def _makes(path: Path, is_made: _Made) -> bool:
    """Tell whether a rule makes a dataset folder or an annotation file."""
    return is_made(path / "train" / ANNOTATION_FILE) or _makes_file(path, is_made)


def _makes_file(path: Path, is_made: _Made) -> bool:
    return path.suffix.lower() in _FORMATS and is_made(path)


def _find(path: Path, is_made: _Made) -> dict[str, Source]:
    """Return the subsets of a folder or file, at least train."""
    if path.suffix.lower() in (".yaml", ".yml"):
        return _in_data_yaml(path)
    if path.is_file() or _makes_file(path, is_made):
        return {"train": _one_file(path, is_made)}
    found = _in_subset_folders(path, is_made)
    yamls = [path / name for name in _DATA_YAMLS if (path / name).is_file()]
    if not found and yamls:
        return _in_data_yaml(yamls[0])
    found = found or _in_voc_folder(path)
    if not found and (source := _in_one_folder(path, is_made)):
        found = {"train": source}
    if not found:
        there = sorted(os.listdir(path)) if path.is_dir() else []
        raise InputError(
            f"{path}: found no annotations that detmake can read. It looked for\n{_LOOKED_FOR}\n"
            f"The folder holds {', '.join(there[:8]) or 'nothing'}."
        )
    return found


def _in_data_yaml(file: Path) -> dict[str, Source]:
    content = yolo.read_data_yaml(file)
    if isinstance(content, dict) and set(content) == {"data"}:
        content = content["data"]
    if yolo.is_data_yaml(content):
        return yolo.sources(file, content)
    return _subsets(content, file.parent, str(file))


def _in_subset_folders(path: Path, is_made: _Made) -> dict[str, Source]:
    """Return the subsets that have a folder each; none if there is no train."""
    folder = path / "train"
    train = _in_one_folder(folder, is_made)
    if not train:
        return {}
    found = {"train": train}
    for subset, names in {"val": ("valid", "val"), "test": ("test",)}.items():
        folders = [path / name for name in names]
        there = next((f for f in folders if f.is_dir() or is_made(f / ANNOTATION_FILE)), None)
        if there:
            # If nothing is in this folder, the message is about what is missing.
            found[subset] = _in_one_folder(there, is_made) or _moved(train, folder, there)
    return found


def _moved(source: Source, folder: Path, to: Path) -> Source:
    """Return a source of one folder as it would be in another one; subsets may share images."""
    annotations, root = (
        to / path.relative_to(folder) if path.is_relative_to(folder) else path
        for path in (source.annotations, source.root)
    )
    return replace(source, annotations=annotations, root=root)


def _in_voc_folder(path: Path) -> dict[str, Source]:
    for annotations, images in (("Annotations", "JPEGImages"), ("annotations", "images")):
        # Elsewhere in annotations, XML files may be what a COCO file was made of.
        folders = _folders_with_xml(path / annotations)
        if any((path / images / folder).is_dir() for folder in folders):
            source = Source("voc", path / annotations, path / images)
            lists = {s: path / "ImageSets/Main" / f"{s}.txt" for s in ("train", "val", "test")}
            if not lists["train"].is_file() and not lists["val"].is_file():
                lists["train"] = path / "ImageSets/Main/trainval.txt"
            found = {s: replace(source, parts=(f,)) for s, f in lists.items() if f.is_file()}
            if found and "train" not in found:
                there = " and ".join(f"{subset}.txt" for subset in found)
                raise InputError(
                    f"{lists['train'].parent}: found {there}, but no list of images to train on. "
                    "Add train.txt, or remove these lists to take all images for one set."
                )
            return found or {"train": source}
    return {}


def _in_one_folder(folder: Path, is_made: _Made) -> Source | None:
    """Return what annotates the images of one folder."""
    for name in (ANNOTATION_FILE, _CVAT_FILE):
        if (folder / name).is_file():
            return _one_file(folder / name, is_made)
    if is_made(folder / ANNOTATION_FILE):
        return Source("coco", folder / ANNOTATION_FILE, folder)
    is_yolo = (folder / "labels").is_dir()  # with many files that need no look
    voc = Source("voc", folder, folder)
    below = () if is_yolo or not folder.is_dir() else filter(Path.is_dir, folder.iterdir())
    if _has_file(folder, ".xml") or _is_any_annotated(below):
        return voc
    there = list(folder.glob("annotations/*.json"))
    if not there and (folder / "images").is_dir() and not is_yolo:
        there = list(folder.glob("*.json"))
    if len(there) == 1:
        return _one_file(there[0], is_made)
    deeper = () if is_yolo else (folder / name for name in _folders_with_xml(folder))
    return voc if _is_any_annotated(deeper) else None


def _one_file(file: Path, is_made: _Made) -> Source:
    """Return the source of one file; images are in a folder `images`, or beside it.

    If there are several such folders, the file is read: the first one that holds its first image
    counts. An `images` beside the file's folder comes last, since it may hold the originals of a
    folder of resized images.
    """
    if file.suffix.lower() not in _FORMATS:
        raise InputError(
            f"{file}: found a file of another kind. Expected a COCO file (.json), a CVAT file "
            "(.xml), a data.yaml or a folder."
        )
    folders = [file.parent / "images", file.parent.parent / "images"]
    folders = [folder for folder in folders if folder.is_dir() or is_made(folder)]
    source = Source(_FORMATS[file.suffix.lower()], file, file.parent)
    if not folders or _has_file(file.parent, IMAGE_SUFFIXES):
        folders.append(file.parent)
    return replace(source, root=_holder(source, folders) if len(folders) > 1 else folders[0])


def _holder(source: Source, folders: Sequence[Path]) -> Path:
    """Return the folder that holds the first image that is in any of them, or else the first."""
    try:
        listed = readers.image_files(source)
    except InputError:  # the check of the dataset reports it
        return folders[0]
    beside = source.annotations.parent
    nearest = sorted(folders, key=lambda folder: not folder.is_relative_to(beside))
    for subfolder, names in listed.items():
        for name in names[:_TRIED_NAMES]:
            for folder in nearest:
                path = folder / subfolder / name  # may be absolute
                inside = path.absolute().is_relative_to(folder.absolute())
                if inside and os.path.isfile(path):
                    return folder
    return folders[0]


def _has_file(folder: Path, suffixes: str | tuple[str, ...]) -> bool:
    """Tell whether a folder has a file of these suffixes; looks no further than the first one."""
    if not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        return any(entry.name.lower().endswith(suffixes) for entry in entries)


def _folders_with_xml(folder: Path) -> Iterator[str]:
    """Yield the folders in this one, itself included, that have XML files, relative to it."""
    if folder.is_dir():
        yield from (name for name, _ in names_in(folder, ".xml"))


def _is_any_annotated(folders: Iterable[Path]) -> bool:
    """Tell whether one of these folders has XML files beside images."""
    return any(_has_file(path, ".xml") and _has_file(path, IMAGE_SUFFIXES) for path in folders)


def _subsets(data: Any, base: Path, source: str) -> dict[str, Source]:
    """Return the subsets of a mapping."""
    expected = (
        "Expected train, val and optionally test, each with ann-files (the path of a COCO or CVAT "
        "annotation file, or of a folder of Pascal VOC's XML files) and optionally data-roots (the "
        "path of the image folder)."
    )

    def keys(value: Any, name: str, required: set[str], optional: set[str]) -> None:
        if not isinstance(value, Mapping):
            raise InputError(f"{source}: {name} is {value!r}, not a mapping.\n{expected}")
        for key in value:
            if key not in required | optional:
                raise InputError(f"{source}: {name} has the unknown key {key!r}.\n{expected}")
        for key in sorted(required - set(value)):
            raise InputError(f"{source}: {name} is missing the key {key!r}.\n{expected}")

    keys(data, "its content", {"train"}, {"val", "test"})
    found = {}
    for subset, given in data.items():
        keys(given, subset, {"ann-files"}, {"data-roots"})
        for key, value in given.items():
            if not isinstance(value, str | Path) or not str(value):
                raise InputError(f"{source}: {key} of {subset} is {value!r}.\n{expected}")
        file = base / given["ann-files"]
        is_folder = file.is_dir()
        root = file if is_folder else file.parent
        if "data-roots" in given:
            root = base / given["data-roots"]
        format_of_file = _FORMATS.get(file.suffix.lower(), "coco")
        found[subset] = Source("voc" if is_folder else format_of_file, file, root)
    return found


def _class_names(classes: Any) -> dict[str, tuple[str, ...]]:
    """Return names in the annotations by new names."""
    if not isinstance(classes, Mapping):
        classes = {name: [name] for name in classes}
    names = [name for names in classes.values() for name in names]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(
            f"`classes` has {', '.join(twice)} more than once. Each name may be in one."
        )
    return {name: tuple(names) for name, names in classes.items()}


def _split(
    found: Mapping[str, Source],
    name: str,
    split: Any = None,
    group: str | None = None,
    groups: str | None = None,
    seed: int | None = None,
) -> dict[str, Source]:
    """Return the three subsets: those that are missing get shares of the train subset."""
    given = {"group": group, "groups": groups, "seed": seed}
    if split is None and (useless := [key for key, value in given.items() if value is not None]):
        raise InputError(
            f"`{useless[0]}` has no effect without `split`. Remove it, or add `split`."
        )
    if group and groups:
        raise InputError("`data` has `group` and `groups`. Remove one of them.")
    try:
        re.compile(group or "")
    except (re.error, OverflowError, RecursionError) as error:
        raise InputError(f"`group` is {group!r}, not a regular expression ({error}).") from error
    missing = [subset for subset in ("test", "val") if subset not in found]
    shares = dict.fromkeys(missing, _AUTO_SHARE) if split == "auto" else dict(split or {})
    if there := [subset for subset in shares if subset in found]:
        raise InputError(
            f"{name}: it has its own {there[0]} subset. Remove {there[0]} from `split`, or set "
            "`split: auto`, which makes only what is missing."
        )
    if "val" in missing and "val" not in shares:
        raise InputError(
            f"{name}: it has no val subset. Add one, or take it from the train subset: write "
            "`data: {source: …, split: auto}`, or on the command line "
            "`--config 'data={source: …, split: auto}'`."
        )
    if sum(shares.values()) >= 1:
        raise InputError(f"`split` is {shares}: nothing is left for train. Choose smaller shares.")
    subsets, low, file = dict(found), 0.0, Path(groups) if groups else None
    for subset in ("test", "val"):  # test first: another share of val leaves it as it is
        if subset in shares:
            share = Share(low, low + shares[subset], seed or 0, group, file)
            subsets[subset] = replace(found["train"], share=share)
            low = share.high
    if low:
        subsets["train"] = replace(found["train"], share=Share(low, 1.0, seed or 0, group, file))
    subsets.setdefault("test", subsets["val"])
    return {subset: subsets[subset] for subset in ("train", "val", "test")}
