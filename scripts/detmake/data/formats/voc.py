"""Read Pascal VOC annotations: an XML file for each image.

The form is that of http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/: XML files in
`Annotations`, images of the same names in `JPEGImages`, and lists of names in `ImageSets/Main`.
XML files beside the images, as LabelImg and Roboflow write them, are read as well.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from detmake.data.annotated import Annotated, Source
from detmake.data.findings import Findings
from detmake.data.formats.folders import by_stem, names_in, refuse_shared_stems
from detmake.data.formats.xml import parse, text_of
from detmake.errors import InputError
from detmake.image_files import IMAGE_SUFFIXES

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_ROOT = re.compile(rb"<annotation[\s/>]")


def image_and_objects(
    document: bytes, origin: str
) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    """Return what a VOC document says of its image, and its objects.

    A box (xmin, ymin, xmax, ymax) in pixels becomes xywh (xmin, ymin, xmax - xmin, ymax - ymin),
    as Roboflow converts it. VOC's own files count pixels from 1 and include the last one, so
    their boxes come out shifted by up to a pixel; other tools write the edges of boxes.

    Args:
        document: content of an XML file.
        origin: the file, for messages.

    Returns:
        Entries of COCO: `width` and `height` of the image (if the document has them), and
        `filename`; and for each object its class name and `bbox`, `origin` and, if it is marked
        `difficult`, `ignore`.

    Raises:
        InputError: it is not a VOC annotation.
    """
    root = parse(document, "annotation", origin)
    try:
        image: dict[str, Any] = {"filename": root.findtext("filename", "").strip()}
        if root.find("size") is not None:
            image |= {side: int(text_of(root, f"size/{side}")) for side in ("width", "height")}
        objects = list(_objects(root, origin))
    except ValueError as error:
        raise InputError(
            f"{origin}: not a Pascal VOC annotation ({error}). Expected, for each object, name and "
            "bndbox with xmin, ymin, xmax and ymax in pixels."
        ) from error
    return image, objects


def _objects(root: Element, origin: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, element in enumerate(root.iterfind("object"), start=1):
        try:
            xmin, ymin, xmax, ymax = (float(text_of(element, f"bndbox/{k}")) for k in _CORNERS)
            name = text_of(element, "name")
        except ValueError as error:
            raise ValueError(f"object {number}: {error}") from error
        entry = {"bbox": [xmin, ymin, xmax - xmin, ymax - ymin]}
        if element.findtext("difficult", "0").strip() == "1":
            entry["ignore"] = 1
        yield name, {**entry, "origin": f"{origin} object {number}"}


def read(source: Source, findings: Findings) -> Annotated:
    """Read a subset. Classes are in alphabetical order.

    Without a list of ImageSets, images that have no XML file are background.

    Raises:
        InputError: there is no XML file; a document is not a VOC annotation, or is of another
            image; an XML file has no image; a listed name has no XML file.
    """
    documents, images = _files(source)
    if not documents:
        beside = " beside images" if source.annotations == source.root else ""
        raise InputError(
            f"{findings.subject}: found no XML files{beside} in {source.annotations}. Expected "
            "annotations of Pascal VOC: an XML file for each image with objects. Add them, or take "
            "away a test/ folder that has none: val then serves as test. For label files of YOLO, "
            "set `data` to a data.yaml instead of ann-files."
        )
    for kind, files in {"images": images, "XML files": documents}.items():
        refuse_shared_stems(findings, kind, [name for names in files.values() for name in names])
    if source.parts:
        stems = _listed(source.parts[0], images)
        findings.refuse(
            f"names in {source.parts[0]} without an XML file in {source.annotations}, or an image "
            f"in {source.root}",
            [stem for stem in stems if stem not in documents or stem not in images],
            "Add the files, or remove the names.",
        )
    else:
        stems = sorted(images)
        findings.refuse(
            f"XML files without an image of the same name in {source.root}",
            [names[0] for stem, names in documents.items() if stem not in images],
            "Add the images, or remove the files.",
        )
    coco: dict[str, Any] = {"images": [], "annotations": []}
    named: list[tuple[str, dict[str, Any]]] = []
    renamed, of_others = [], []
    for image_id, stem in enumerate(stems, start=1):
        image: dict[str, Any] = {"id": image_id, "file_name": images[stem][0]}
        if stem in documents:
            document = source.annotations / documents[stem][0]
            said, objects = image_and_objects(document.read_bytes(), str(document))
            filename = os.path.basename(said.pop("filename").replace("\\", "/"))
            other = os.path.splitext(filename)[0]
            if other and os.path.basename(stem) not in (other, filename):
                folder = os.path.dirname(stem)
                is_there = os.path.join(folder, other) in images
                (of_others if is_there else renamed).append(f"{document} ({filename})")
            image |= said
            named += [(name, entry | {"image_id": image_id}) for name, entry in objects]
        coco["images"].append(image)
    findings.refuse(
        "XML files whose filename is that of another image",
        of_others,
        "A file belongs to the image of its own name: rename it, or correct its filename.",
    )
    findings.remark(
        "XML files with another filename than their own, of no image here; taken for those of the "
        "images of their names",
        renamed,
    )
    classes = sorted({name for name, _ in named})
    numbers = {name: number for number, name in enumerate(classes)}
    coco["annotations"] = [entry | {"category_id": numbers[name]} for name, entry in named]
    coco["categories"] = [{"id": number, "name": name} for name, number in numbers.items()]
    return Annotated(coco, source.root)


def image_files(source: Source) -> dict[str, list[str]]:
    """Return the names of images and XML files by folder, relative to the root."""
    documents, images = _files(source)
    stems = _listed(source.parts[0], images) if source.parts else sorted({*documents, *images})
    up = os.path.relpath(source.annotations, source.root)
    files: dict[str, list[str]] = {}
    for stem in stems:
        xml = [os.path.normpath(os.path.join(up, name)) for name in documents.get(stem, [])]
        for name in [*images.get(stem, []), *xml]:
            folder, base = os.path.split(name)
            files.setdefault(folder, []).append(base)
    return files


def _files(source: Source) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the names of XML files, and those of images, by their names without suffix.

    Of images that have XML files beside them, only folders with both count: others may hold what
    is no part of the dataset, such as results. Annotations always count, so that those without
    their images are missed, and so do all XML files in the root.
    """
    documents = dict(names_in(source.annotations, ".xml"))
    images = dict(names_in(source.root, IMAGE_SUFFIXES))
    if source.annotations == source.root:
        images = {folder: names for folder, names in images.items() if folder in documents}
        documents = {
            folder: names
            if not folder or folder in images
            else [name for name in names if _is_annotation(source.annotations / folder / name)]
            for folder, names in documents.items()
        }
    return tuple(
        by_stem([os.path.join(folder, name) for folder, names in found.items() for name in names])
        for found in (documents, images)
    )


def _is_annotation(file: Path) -> bool:
    """Whether a file begins like an annotation of VOC. It need not be whole: `read` says so."""
    with file.open("rb") as opened:
        return bool(_ROOT.search(opened.read(1000)))


def _listed(file: Path, images: dict[str, list[str]]) -> list[str]:
    """Return the names in a list of ImageSets; a suffix, or the flag of a class, does not count."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read as a list of names ({error}).") from error
    names = [line.strip().replace("\\", "/") for line in lines if line.strip()]
    for index, name in enumerate(names):
        if name not in images:
            words = name.split()
            name = " ".join(words[:-1]) if words[-1] in ("-1", "0", "1") else name
            stem, suffix = os.path.splitext(name)
            names[index] = stem if suffix.lower() in IMAGE_SUFFIXES else name
    return list(dict.fromkeys(names))
