"""Read datasets of Ultralytics YOLO: a data.yaml, images, and a text file of labels for each image.

The form is that of https://docs.ultralytics.com/datasets/detect/: the labels of
`images/train/a.jpg` are in `labels/train/a.txt`, one object a line: the index of its class, and
the box as x and y of the centre, width and height, in parts of the image's width and height; or
the index and the corners of a polygon or of a rotated box, around which the box is taken. An image
without a label file, or with an empty one, is background.
"""

import os
import re
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from detmake import yaml_text
from detmake.data.annotated import Annotated, Source
from detmake.data.findings import Findings, repeated
from detmake.data.formats.folders import names_in, refuse_shared_stems
from detmake.errors import InputError
from detmake.image_files import IMAGE_SUFFIXES

# Ultralytics, too, takes what is outside the image by this much for a rounding error.
_TOLERANCE = 0.01
_TRIED_LINES = 100  # of a list, to find out where its paths start: some images may be missing
_MAX_CLASSES = 100_000  # far above any dataset; a list of names is made for `nc` alone
_WINDOWS_DRIVE = re.compile(r"[A-Za-z]:[/\\]")


def is_data_yaml(content: Any) -> bool:
    """Tell whether the content of a YAML file is that of a data.yaml of Ultralytics."""
    return isinstance(content, Mapping) and (
        "names" in content
        or "nc" in content
        or any(isinstance(content.get(key), str | list) for key in ("train", "val"))
    )


def sources(file: Path, content: Mapping[str, Any]) -> dict[str, Source]:
    """Return the subsets that a data.yaml names, at least train.

    As with Ultralytics, they count from `path`, and one that starts with "../" may also start
    without. `path` counts from the folder of the data.yaml or from the working directory. If it
    leads nowhere, as after a move, the folder of the data.yaml serves.

    Raises:
        InputError: a subset is no path or list of paths, or train or the names are missing.
    """
    _names(file, content)
    found = {}
    for subset in ("train", "val", "test"):
        given = content.get(subset) or (subset == "val" and content.get("validation"))
        if not given:
            continue
        parts = given if isinstance(given, list) else [given]
        if not all(isinstance(part, str) and "\0" not in part for part in parts):
            raise InputError(
                f"{file}: {subset} is {reprlib.repr(given)}. Expected a folder of images, a .txt "
                "list of images, or a list of these."
            )
        path = str(content.get("path") or ".")
        paths = tuple(_path(file, path, part) for part in parts)
        for part, there in zip(parts, paths, strict=True):
            if _WINDOWS_DRIVE.match(part) and not there.exists():
                raise InputError(
                    f"{file}: {subset} is {part}, a path of Windows. Write paths relative to this "
                    "file."
                )
        found[subset] = Source("yolo", file, file.parent, paths)
    if "train" not in found:
        raise InputError(f"{file}: train is missing. Expected the path of a folder of images.")
    return found


def read_data_yaml(file: Path) -> Any:
    """Return the content of a YAML file. Raises InputError if it cannot be read."""
    try:
        return yaml_text.parse(file.read_bytes())
    except OSError as error:
        raise InputError(
            f"{file}: cannot be read ({error.strerror}). Set the key `data` to an "
            "existing YAML file or a dataset folder."
        ) from error
    except yaml.YAMLError as error:
        raise InputError(f"{file}: not YAML: {error}") from error


def read(source: Source, findings: Findings) -> Annotated:
    """Read a subset. Raises InputError for lines that are no objects of the data.yaml's classes."""
    content = read_data_yaml(source.annotations)
    names, has_poses = _names(source.annotations, content), "kpt_shape" in content
    listed = _images(source)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    unlabelled: dict[str, list[str]] = {}  # images of folders that have no label file
    problems: dict[str, list[str]] = {"line": [], "class": [], "value": []}
    root, split_names = _image_root(source, listed), {}
    for folder, image_names in listed.items():
        split_folder = _split_folder(source, folder)
        paths = [os.path.join(folder, name) for name in image_names]
        refuse_shared_stems(findings, "images", paths)
        labels = _labels(findings, source, folder, image_names)
        has_labels = any(labels.values())
        for name in image_names:
            file_name = os.path.relpath(os.path.join(folder, name), root)
            images.append({"id": len(images) + 1, "file_name": file_name})
            split_names[len(images)] = os.path.normpath(os.path.join(split_folder, name))
            if not has_labels:
                unlabelled.setdefault(folder, []).append(file_name)
            if not (label := labels[name]):
                continue
            for number, class_index, box in _objects(label, len(names), has_poses, problems):
                annotations.append(
                    {
                        "image_id": len(images),
                        "category_id": class_index,
                        "bbox": box,
                        "origin": f"{label} line {number}",
                    }
                )
    _refuse(findings, problems, names)
    if unlabelled.keys() == listed.keys():
        paths = [os.path.join(root, image["file_name"]) for image in images]
        findings.refuse(
            "listed images that are not there",
            [path for path in paths if not os.path.isfile(path)],
            "Paths in a list count from its folder, or from that of the data.yaml: correct them.",
        )
    findings.remark(
        "folders of label files without images, left out", _other_labels(source, listed)
    )
    if unlabelled:
        folder, file_names = next(iter(unlabelled.items()))
        expected = os.path.join(_label_folder(folder), _label_name(os.path.basename(file_names[0])))
        findings.remark(
            f"images of folders without a label file, taken as background; looked for {expected} "
            "and so on",
            [name for of_folder in unlabelled.values() for name in of_folder],
        )
    categories = [{"id": index, "name": name} for index, name in enumerate(names)]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    if isinstance(roboflow := content.get("roboflow"), dict):  # its exports name their license
        coco["licenses"] = [{"name": roboflow.get("license"), "url": roboflow.get("url")}]
    return Annotated(coco, Path(root), is_normalized=True, split_names=split_names)


def image_files(source: Source) -> dict[str, list[str]]:
    """Return the names of images and label files by folder, relative to the root."""
    files: dict[str, list[str]] = {}
    for folder, names in _images(source).items():
        labels = _label_folder(folder)
        files.setdefault(os.path.relpath(folder, source.root), []).extend(names)
        files.setdefault(os.path.relpath(labels, source.root), []).extend(map(_label_name, names))
    return files


def _names(file: Path, content: Any) -> list[str]:
    """Return the class names of a data.yaml."""
    expected = "Expected names, a list or a mapping of the indices 0, 1, … to class names."
    given = content.get("names") if isinstance(content, Mapping) else None
    count = content.get("nc") if isinstance(content, Mapping) else None
    if count is not None and not (type(count) is int and 0 < count <= _MAX_CLASSES):
        raise InputError(
            f"{file}: nc is {count!r}. Expected the number of classes, from 1 to {_MAX_CLASSES}."
        )
    if given is None and count:
        return [f"class_{index}" for index in range(count)]  # as Ultralytics calls them
    if isinstance(given, Mapping):
        if {str(key) for key in given} != {str(index) for index in range(len(given))}:
            indices = reprlib.repr(list(given))
            raise InputError(f"{file}: the indices in names are {indices}.\n{expected}")
        given = [value for _, value in sorted(given.items(), key=lambda item: int(item[0]))]
    if not isinstance(given, list) or not given:
        raise InputError(f"{file}: names is {reprlib.repr(given)}.\n{expected}")
    if count is not None and count != len(given):
        raise InputError(
            f"{file}: nc is {count}, but names has {len(given)} classes. Correct one of them."
        )
    # YAML reads `no` as false, and `2024-01-01` as a date: not what was written.
    if others := [name for name in given if type(name) not in (str, int)]:
        raise InputError(
            f"{file}: names has {reprlib.repr(others[0])}, which YAML does not read as text. Put "
            "the name in quotes."
        )
    given = [str(name) for name in given]
    if twice := repeated(given):
        raise InputError(
            f"{file}: names has {', '.join(twice)} more than once. Rename one of them."
        )
    return given


def _path(file: Path, path: str, part: str) -> Path:
    """Return where a part of a subset is: the first place that exists.

    If none does, it is the place of which most is there, for messages.
    """
    path, part = path.replace("\\", "/"), part.replace("\\", "/")
    bases = [file.parent / path, Path(path), file.parent]
    forms = [part, part.removeprefix("../")]
    places = [Path(os.path.normpath(base / form)) for base in bases for form in forms]
    if there := next((place for place in places if place.exists()), None):
        return there
    base = next(base for base in bases if base.exists())
    places = [Path(os.path.normpath(base / form)) for form in forms]
    return max(places, key=lambda place: sum(parent.exists() for parent in place.parents))


def _images(source: Source) -> dict[str, list[str]]:
    """Return the names of a subset's images by folder, as paths that start where the root does."""
    images: dict[str, list[str]] = {}
    for part in source.parts:
        if part.suffix == ".txt":
            for image in _listed(part, source):
                folder, name = os.path.split(image)
                images.setdefault(folder, []).append(name)
        else:
            for folder, names in names_in(part, IMAGE_SUFFIXES):
                images.setdefault(os.path.join(part, folder).rstrip("/"), []).extend(names)
    return images


def _listed(file: Path, source: Source) -> list[str]:
    """Return the paths of the images in a list; relative ones count from its folder or the root."""
    lines = [line.strip().replace("\\", "/") for line in _text(file).splitlines()]
    lines = [line for line in lines if line]
    if drive := next(filter(_WINDOWS_DRIVE.match, lines), None):
        raise InputError(
            f"{file}: found the path {drive}, of Windows. Write paths relative to this file."
        )
    # One place for all lines, so that a list of many images needs few looks at the disk.
    bases = [file.parent, source.root]
    places = ((base, base / line) for line in lines[:_TRIED_LINES] for base in bases)
    base = next((base for base, path in places if os.path.exists(path)), bases[0])
    return [os.path.normpath(os.path.join(base, line)) for line in lines]


def _text(file: str | Path) -> str:
    """Return a text file, without the byte order mark of Windows. Raises InputError."""
    try:
        with open(file, encoding="utf-8-sig") as text:
            return text.read()
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not a text file in UTF-8 ({error}). Save it as one.") from error


def _image_root(source: Source, folders: Iterable[str]) -> str:
    """Return a folder that holds all of these folders, the same one while these need no other."""
    given = [part.parent if part.suffix == ".txt" else part for part in source.parts]
    common = os.path.commonpath([os.path.abspath(folder) for folder in given])
    # Images of a list may be outside its folder: then the nearest folder above that holds them.
    above = os.path.commonpath([common, os.path.abspath(source.root)])
    inside = [Path(os.path.abspath(folder)) for folder in folders]
    roots = [str(source.root), common, above, *map(str, Path(above).parents)]
    for root in roots:
        if all(path.is_relative_to(os.path.abspath(root)) for path in inside):
            return root
    return "/"  # paths that begin with two slashes are relative to nothing else


def _split_folder(source: Source, folder: str) -> str:
    """Return how the names of a folder's images begin in a split: its path from a fixed folder.

    This is the folder of the data.yaml. For what lies outside, it is the first part of the subset:
    data may be far from its data.yaml, and a split then does not depend on where this one is.
    """
    first = source.parts[0]
    bases = [source.root, first.parent if first.suffix == ".txt" else first]
    path, bases = Path(os.path.abspath(folder)), [os.path.abspath(base) for base in bases]
    return os.path.relpath(path, next(filter(path.is_relative_to, bases), bases[-1]))


def _label_folder(folder: str) -> str:
    """Return the folder of the labels: the last part `images` becomes `labels`."""
    parts = folder.split("/")
    if "images" in parts:
        last = len(parts) - 1 - parts[::-1].index("images")
        parts[last] = "labels"
    return "/".join(parts)


def _label_name(image_name: str) -> str:
    return f"{os.path.splitext(image_name)[0]}.txt"


def _other_labels(source: Source, listed: Iterable[str]) -> list[str]:
    """Return the folders of label files to which no folder of images belongs."""
    expected = {os.path.abspath(_label_folder(folder)) for folder in listed}
    found = []
    for part in source.parts:
        labels = Path(_label_folder(str(part)))
        if part.suffix != ".txt" and labels != part and labels.is_dir():
            found += [
                os.path.join(labels, folder)
                for folder, names in names_in(labels, ".txt")
                if names != ["classes.txt"]
            ]
    return [folder for folder in found if os.path.abspath(folder) not in expected]


def _labels(
    findings: Findings, source: Source, folder: str, image_names: list[str]
) -> dict[str, str | None]:
    """Return the path of each image's label file, or None, by the image's name."""
    label_folder = _label_folder(folder)
    there = set(os.listdir(label_folder)) if os.path.isdir(label_folder) else set()
    needed = {name: _label_name(name) for name in image_names}
    if label_folder != folder:
        beside = there.intersection(os.listdir(folder) if os.path.isdir(folder) else ())
        findings.refuse(
            f"images with two label files, one in {folder} and one in {label_folder}",
            [name for name, label in needed.items() if label in beside],
            "Remove the one that is out of date.",
        )
    if not any(part.suffix == ".txt" for part in source.parts):  # a list may leave images out
        extra = {name for name in there if name.lower().endswith(".txt")} - set(needed.values())
        findings.remark(
            f"label files in {label_folder} without an image, left out",
            sorted(extra - {"classes.txt"}),
        )
    return {
        name: os.path.join(label_folder, label) if label in there else None
        for name, label in needed.items()
    }


def _objects(
    label: str, classes: int, has_poses: bool, problems: dict[str, list[str]]
) -> Iterable[tuple[int, int, list[float]]]:
    """Yield line number, class index and normalized xywh box of the objects in a label file."""
    for number, line in enumerate(_text(label).splitlines(), start=1):
        if not (words := line.split()):
            continue
        place = f"{label} line {number} ({line.strip()[:60]!r})"
        try:
            index, *values = map(float, words)
        except ValueError:
            problems["line"].append(place)
            continue
        if has_poses:
            values = values[:4]  # the box, before the keypoints
        if len(values) != 4 and (len(values) < 6 or len(values) % 2):
            problems["line"].append(place)
        elif not (0 <= index < classes and index.is_integer()):
            problems["class"].append(place)
        elif not all(-_TOLERANCE <= value <= 1 + _TOLERANCE for value in values):
            problems["value"].append(place)
        else:
            yield number, int(index), _box(values)


def _box(values: list[float]) -> list[float]:
    """Return the xywh box of a centre with width and height, or of a polygon."""
    if len(values) == 4:
        x, y, width, height = values
        return [x - width / 2, y - height / 2, width, height]
    xs, ys = values[::2], values[1::2]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _refuse(findings: Findings, problems: Mapping[str, list[str]], names: list[str]) -> None:
    form = "the index of a class, and the box as x and y of the centre, width and height"
    findings.refuse(
        f"lines of labels that are not five numbers: {form} (or a polygon of three or more points)",
        problems["line"],
        "Correct or remove these lines.",
    )
    findings.refuse(
        f"objects whose class is not an index of names, 0 to {len(names) - 1}",
        problems["class"],
        f"names has {', '.join(names[:20])}: add what is missing, or correct the lines.",
    )
    findings.refuse(
        "objects whose box is not within the image, from 0 to 1",
        problems["value"],
        "Coordinates are in parts of the image's width and height. Divide pixels by these.",
    )
