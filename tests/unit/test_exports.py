"""One dataset in four formats, written by an independent converter, is read as the same dataset."""

import json
import os
import re
import shutil
from pathlib import Path

import cv2
import globox
import numpy as np
import pytest
import yaml
from dataset_case import boxes

from detmake.data import checking, sources, subsets


def random_dataset(folder: Path) -> Path:
    """Write images of several sizes and random boxes, with tenths of pixels, as Roboflow does."""
    rng = np.random.default_rng(0)
    names = ("cells", "WBC", "RBC", "Platelets")
    coco = {"images": [], "annotations": []}
    coco["categories"] = [
        {"id": k, "name": name, "supercategory": "cells" if k else "none"}
        for k, name in enumerate(names)
    ]
    folder.mkdir()
    for index in range(12):
        width, height = (int(size) for size in rng.integers(60, 400, 2))
        name = f"image {index}_png.rf.{index:x}.png"
        cv2.imwrite(str(folder / name), np.full((height, width, 3), index, np.uint8))
        coco["images"].append({"id": index, "file_name": name, "width": width, "height": height})
        for _ in range(0 if index == 5 else 9):
            x, right = np.sort(rng.uniform(0, width - 2, 2)).round(1).tolist()
            y, bottom = np.sort(rng.uniform(0, height - 2, 2)).round(1).tolist()
            box = {"id": len(coco["annotations"]), "image_id": index, "iscrowd": 0}
            box["category_id"] = int(rng.integers(1, 4))
            coco["annotations"].append(box | {"bbox": [x, y, right - x + 2, bottom - y + 2]})
    (folder / "_annotations.coco.json").write_text(json.dumps(coco))
    return folder


@pytest.fixture(scope="module", params=["random", "BCCD"])
def roboflow(request, tmp_path_factory) -> Path:
    """One subset as Roboflow exports it in COCO format."""
    if request.param == "random":
        return random_dataset(tmp_path_factory.mktemp("random") / "train")
    if "DETMAKE_BCCD" not in os.environ:
        pytest.skip("DETMAKE_BCCD is not set; it names a folder with BCCD in COCO format")
    return Path(os.environ["DETMAKE_BCCD"], "test")


@pytest.fixture(scope="module")
def original(roboflow) -> dict:
    return prepare({"source": str(roboflow), "split": "auto"})


def prepare(data) -> dict:
    return checking.prepare(sources.locate(data)["train"].whole)


def export(roboflow: Path, folder: Path, images: str) -> globox.AnnotationSet:
    """Copy the images; return what the converter read."""
    shutil.copytree(roboflow, folder / images)
    return globox.AnnotationSet.from_coco(folder / images / "_annotations.coco.json")


def yolo(roboflow, folder):
    converter = export(roboflow, folder, "train/images")
    names = sorted({box.label for annotation in converter for box in annotation.boxes})
    numbers = {name: number for number, name in enumerate(names)}
    converter.save_yolo_v5(folder / "train/labels", label_to_id=numbers)
    content = {"train": "../train/images", "val": "../train/images", "nc": len(names)}
    (folder / "data.yaml").write_text(yaml.safe_dump(content | {"names": names}))
    return str(folder)


def voc(roboflow, folder):
    """As LabelImg writes it: XML files beside the images, in whole pixels from 1."""
    export(roboflow, folder, "train").save_pascal_voc(folder / "train")
    (folder / "train/_annotations.coco.json").unlink()
    for file in (folder / "train").glob("*.xml"):
        text = re.sub(
            r"<([xy]m\w\w)>([\d.]+)<",
            lambda m: f"<{m[1]}>{max(int(float(m[2])), 1)}<",
            file.read_text(),
        )
        file.write_text(text)
    return {"source": str(folder), "split": "auto"}


def cvat(roboflow, folder):
    export(roboflow, folder, "images").save_cvat(folder / "annotations.xml")
    (folder / "images/_annotations.coco.json").unlink()
    return {"source": str(folder), "split": "auto"}


@pytest.mark.parametrize(
    ("write", "tolerance"), [(yolo, 0.01), (voc, 1.0), (cvat, 0.01)], ids=["yolo", "voc", "cvat"]
)
def test_an_export_is_read_as_the_same_dataset(original, roboflow, tmp_path, write, tolerance):
    coco = prepare(write(roboflow, tmp_path / "set"))
    assert sorted(subsets.class_names(coco)) == sorted(subsets.class_names(original))
    sizes = [
        {
            Path(image["file_name"]).name: (image["sha256"], image["width"])
            for image in one["images"]
        }
        for one in (original, coco)
    ]
    assert sizes[0] == sizes[1]
    expected, found = boxes(original, 6), boxes(coco, 6)
    assert expected.keys() == found.keys()
    for name, entries in expected.items():
        assert [label for label, _ in entries] == [label for label, _ in found[name]]
        if entries:
            corners = [np.array([box for _, box in one[name]]) for one in (expected, found)]
            for array in corners:
                array[:, 2:] += array[:, :2]  # xyxy, in pixels
            assert np.abs(corners[0] - corners[1]).max() <= tolerance
