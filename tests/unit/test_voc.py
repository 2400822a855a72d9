"""Conversion from Pascal VOC to COCO."""

import logging

import pytest

from detmake.data.formats.voc import coco_from_voc
from detmake.errors import InputError


def voc(*objects: tuple[str, int, int, int, int]) -> bytes:
    boxes = "".join(
        f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{xmin}</xmin>"
        f"<ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox></object>"
        for name, xmin, ymin, xmax, ymax in objects
    )
    size = "<size><width>640</width><height>480</height><depth>3</depth></size>"
    return f"<annotation><filename>x.jpg</filename>{size}{boxes}</annotation>".encode()


def test_annotations_are_converted_to_coco() -> None:
    coco = coco_from_voc(
        {"b.jpg": voc(("WBC", 68, 315, 286, 480)), "a.jpg": voc(("RBC", 1, 2, 4, 6))},
        ["RBC", "WBC"],
        "cells",
    )
    assert coco == {
        "info": {},
        "licenses": [],
        "categories": [
            {"id": 0, "name": "cells", "supercategory": "none"},
            {"id": 1, "name": "RBC", "supercategory": "cells"},
            {"id": 2, "name": "WBC", "supercategory": "cells"},
        ],
        "images": [
            {"id": 0, "file_name": "b.jpg", "height": 480, "width": 640},
            {"id": 1, "file_name": "a.jpg", "height": 480, "width": 640},
        ],
        "annotations": [
            {
                "id": 0,
                "image_id": 0,
                "category_id": 2,
                "bbox": [68, 315, 218, 165],
                "area": 35970,
                "segmentation": [],
                "iscrowd": 0,
            },
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "bbox": [1, 2, 3, 4],
                "area": 12,
                "segmentation": [],
                "iscrowd": 0,
            },
        ],
    }


def test_boxes_without_area_are_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    document = voc(
        ("RBC", 10, 10, 10, 10),  # a point
        ("RBC", 10, 10, 20, 10),  # a line
        ("RBC", 20, 10, 10, 20),  # corners swapped
        ("RBC", 10, 10, 11, 11),
    )
    with caplog.at_level(logging.WARNING, logger="detmake"):
        coco = coco_from_voc({"a.jpg": document}, ["RBC"], "cells")
    assert [(box["id"], box["bbox"]) for box in coco["annotations"]] == [(0, [10, 10, 1, 1])]
    assert "3 of 4 boxes have no area" in caplog.text
    assert "a.jpg" in caplog.text


@pytest.mark.parametrize(
    ("document", "found"),
    [
        (b"<annotation><size>", "not Pascal VOC"),
        (b"<annotation/>", "size/height"),
        (voc(("RBC", 1, 2, 3, 4)).replace(b"<xmax>3</xmax>", b""), "bndbox/xmax"),
        (voc(("RBC", 1, 2, 3, 4)).replace(b">3<", b">three<"), "three"),
        (voc(("cat", 1, 2, 3, 4)), "'cat'"),
    ],
)
def test_a_bad_annotation_is_refused_with_its_file_name(document: bytes, found: str) -> None:
    with pytest.raises(InputError, match=found) as raised:
        coco_from_voc({"a.jpg": document}, ["RBC"], "cells")
    assert "a.jpg" in str(raised.value)
