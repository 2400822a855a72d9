"""The check of a user's dataset: what it accepts, repairs and refuses."""

import hashlib
import io
import json
import logging
import os
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from detmake.data import checking, sources, subsets
from detmake.data.annotated import Source
from detmake.data.image_digests import listed_digest
from detmake.errors import InputError

WIDTH, HEIGHT = 60, 40


def save(path, size=(WIDTH, HEIGHT)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "teal").save(path)


def image(number, **more):
    entry = {"id": number, "file_name": f"{number}.jpg", "width": WIDTH, "height": HEIGHT}
    return entry | more


def annotation(number=1, bbox=(10, 5, 20, 10), **more):
    return {"id": number, "image_id": 1, "category_id": 1, "bbox": list(bbox)} | more


@pytest.fixture
def prepare(tmp_path):
    """Prepare a subset from its parts; missing images are created."""

    def call(images=None, annotations=None, categories=None, classes=None, make=True, **more):
        images = [image(1)] if images is None else images
        coco = {
            "images": images,
            "annotations": [annotation()] if annotations is None else annotations,
            "categories": categories or [{"id": 1, "name": "cell"}],
            **more,
        }
        for entry in images if make else []:
            path = tmp_path / entry["file_name"]
            if not path.exists():
                save(path)
        (tmp_path / "coco.json").write_text(json.dumps(coco))
        return checking.prepare(Source("coco", tmp_path / "coco.json", tmp_path), classes)

    return call


@pytest.fixture
def refused(prepare, tmp_path):
    """Return the message of a refusal, which must name the annotation file."""

    def call(*args, **kwargs):
        with pytest.raises(InputError) as error:
            prepare(*args, **kwargs)
        message = str(error.value)
        assert message.startswith(f"{tmp_path / 'coco.json'}: ")
        return message

    return call


def boxes(coco):
    return [entry["bbox"] for entry in coco["annotations"]]


def remarks(coco):
    return "\n".join(coco["info"]["remarks"])


def test_file_names_of_windows_are_accepted(prepare, tmp_path):
    save(tmp_path / "deep/1.jpg")
    coco = prepare(images=[image(1, file_name="deep\\1.jpg")], make=False)
    assert coco["images"][0]["file_name"] == "deep/1.jpg"
    before = listed_digest(Source("coco", tmp_path / "coco.json", tmp_path))
    save(tmp_path / "deep/1.jpg", (5, 5))
    assert listed_digest(Source("coco", tmp_path / "coco.json", tmp_path)) != before


@pytest.mark.parametrize("slash", ["/", "\\"])
def test_file_names_may_begin_with_the_name_of_the_image_folder(prepare, tmp_path, slash):
    """As Label Studio exports them: the file is beside the folder."""
    name = f"{tmp_path.name}{slash}1.jpg"
    save(tmp_path / "1.jpg")
    source = Source("coco", tmp_path / "coco.json", tmp_path)
    coco = prepare(images=[image(1, file_name=name)], make=False)
    assert coco["images"][0]["file_name"] == "1.jpg"
    before = listed_digest(source, tmp_path / "cache")
    # The same file beside the folder lists other images.
    assert listed_digest(replace(source, root=tmp_path.parent), tmp_path / "cache") != before
    save(tmp_path / "1.jpg", (5, 5))
    assert listed_digest(source, tmp_path / "cache") != before
    save(tmp_path / tmp_path.name / "1.jpg")
    coco = prepare(images=[image(1, file_name=name)], make=False)
    assert coco["images"][0]["file_name"] == f"{tmp_path.name}/1.jpg"


def test_a_valid_subset_is_unchanged(prepare, tmp_path):
    coco = prepare(annotations=[annotation(7, (10, 5.5, 20, 10), segmentation=[], area=3)])
    path = tmp_path / "1.jpg"
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert coco == {
        "info": {
            "image_root": str(tmp_path),
            "annotation_file": str(tmp_path / "coco.json"),
            "remarks": [],
        },
        "licenses": [],
        "categories": [{"id": 1, "name": "cell"}],
        "images": [image(1, sha256=sha256, dhash="0" * 32)],
        "annotations": [
            annotation(1, (10.0, 5.5, 20.0, 10.0), area=200.0, iscrowd=0),
        ],
    }
    json.dumps(coco, allow_nan=False)


@pytest.mark.parametrize(
    "declared, expected",
    [
        (
            [{"id": 1, "name": "CC BY 4.0", "url": "https://a"}, {"id": 2, "name": "two\nlines"}],
            [{"name": "CC BY 4.0", "url": "https://a"}, {"name": "two lines"}],
        ),
        ([{"id": 1, "name": "", "url": None}, "MIT", {"name": 4}, {"name": "\ud800"}], []),
        ("MIT", []),
        (None, []),
    ],
)
def test_licenses_are_carried_through(prepare, declared, expected):
    assert prepare(licenses=declared)["licenses"] == expected


def test_a_remark_is_one_line_with_a_count_and_the_first_examples(prepare, caplog):
    caplog.set_level(logging.INFO, "detmake")
    flat = [annotation(number, (number, 0, 0, 5)) for number in range(2, 9)]
    coco = prepare(annotations=[annotation(), *flat])
    assert coco["info"]["remarks"] == [
        "boxes without area, dropped: 7 (1.jpg [2, 0, 0, 5], 1.jpg [3, 0, 0, 5], "
        "1.jpg [4, 0, 0, 5], 1.jpg [5, 0, 0, 5], 1.jpg [6, 0, 0, 5], …)"
    ]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert coco["info"]["remarks"][0] in caplog.text


# classes


def test_the_supercategory_of_a_roboflow_export_is_dropped(prepare):
    coco = prepare(
        categories=[
            {"id": 0, "name": "cells", "supercategory": "none"},
            {"id": 1, "name": "RBC", "supercategory": "cells"},
        ]
    )
    assert coco["categories"] == [{"id": 1, "name": "RBC"}]
    assert "categories without boxes" in remarks(coco) and ": 1 ('cells' (id 0))" in remarks(coco)


def test_a_supercategory_named_like_its_class_is_dropped(prepare):
    categories = [
        {"id": 0, "name": "drone", "supercategory": "none"},
        {"id": 1, "name": "drone", "supercategory": "drone"},
    ]
    for classes in (None, ["drone"]):
        coco = prepare(categories=categories, classes=classes)
        assert coco["categories"] == [{"id": 1, "name": "drone"}]
        assert coco["annotations"][0]["category_id"] == 1
        assert "'drone' (id 0)" in remarks(coco)


def test_category_0_with_boxes_is_a_class(prepare):
    coco = prepare(
        annotations=[annotation(1, category_id=0), annotation(2, category_id=1)],
        categories=[
            {"id": 0, "name": "cells", "supercategory": "none"},
            {"id": 1, "name": "RBC", "supercategory": "cells"},
        ],
    )
    assert subsets.class_names(coco) == ["cells", "RBC"]


def test_categories_are_renumbered_from_1_in_id_order(prepare):
    coco = prepare(
        annotations=[annotation(1, category_id=90), annotation(2, category_id=7)],
        categories=[{"id": 90, "name": "a"}, {"id": 7, "name": "b"}],
    )
    assert coco["categories"] == [{"id": 1, "name": "b"}, {"id": 2, "name": "a"}]
    assert [entry["category_id"] for entry in coco["annotations"]] == [2, 1]


def test_a_class_without_boxes_is_kept_with_a_remark(prepare):
    coco = prepare(categories=[{"id": 1, "name": "cell"}, {"id": 2, "name": "rare"}])
    assert subsets.class_names(coco) == ["cell", "rare"]
    assert "classes without boxes in this subset, kept: 1 ('rare')" in remarks(coco)


def test_other_subsets_follow_the_classes_of_train_by_name(prepare):
    coco = prepare(
        annotations=[annotation(1, category_id=5), annotation(2, category_id=3)],
        categories=[{"id": 3, "name": "WBC"}, {"id": 4, "name": "odd"}, {"id": 5, "name": "RBC"}],
        classes=["Platelets", "RBC", "WBC"],
    )
    assert subsets.class_names(coco) == ["Platelets", "RBC", "WBC"]
    assert [entry["category_id"] for entry in coco["annotations"]] == [2, 3]
    assert "classes without boxes in this subset, kept: 1 ('Platelets')" in remarks(coco)
    assert "'odd' (id 4)" in remarks(coco)


def test_classes_missing_from_train_are_refused(refused):
    message = refused(
        annotations=[annotation(), annotation(2, category_id=2), annotation(3, category_id=2)],
        categories=[{"id": 1, "name": "RBC"}, {"id": 2, "name": "Blast"}],
        classes=["RBC", "WBC"],
    )
    assert "'Blast' (2 boxes)" in message and "'RBC', 'WBC'" in message


def test_categories_with_boxes_that_share_a_name_are_refused(refused):
    message = refused(
        annotations=[annotation(), annotation(2, category_id=2)],
        categories=[{"id": 1, "name": "cell"}, {"id": 2, "name": "cell"}],
    )
    assert "class names shared by several categories with boxes: 1 ('cell')" in message


@pytest.mark.parametrize(
    ("categories", "said"),
    [
        ([{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], "category ids used more than once: 1"),
        ([{"id": "1", "name": "a"}], "without an integer id"),
        ([{"id": 1}], "without an integer id and a name"),
        ([{"id": 1, "name": "\ud800"}], r"name is not Unicode text (UTF-8): 1 ('\ud800')"),
        ([{"id": 2, "name": "a"}], "annotations of categories that are not listed"),
    ],
)
def test_faulty_categories_are_refused(refused, categories, said):
    assert said in refused(categories=categories)


# annotations


def test_boxes_are_clipped_or_dropped(prepare):
    given = {
        "partly outside": (-5, 30, 20, 20),
        "over all sides": (-1, -1, 100, 100),
        "outside": (60, 0, 10, 10),
        "far outside": (-50, -50, 10, 10),
        "flat": (10, 10, 0, 5),
        "negative": (10, 10, 5, -5),
        "sliver": (59.5, 0, 10, 10),
        "tiny": (10, 10, 0.5, 5),
        "whole": (0, 0, 60, 40),
    }
    coco = prepare(annotations=[annotation(k, box) for k, box in enumerate(given.values())])
    assert boxes(coco) == [[0, 30, 15, 10], [0, 0, 60, 40], [0, 0, 60, 40]]
    assert [entry["area"] for entry in coco["annotations"]] == [150, 2400, 2400]
    assert [entry["id"] for entry in coco["annotations"]] == [1, 2, 3]
    said = remarks(coco)
    assert "boxes without area, dropped: 2 (" in said
    assert "boxes completely outside their image, dropped: 2 (" in said
    assert "boxes less than one pixel wide or high, dropped: 2 (" in said
    assert "in pixels): 2 (" in said


def test_boxes_that_overhang_by_less_than_a_pixel_are_clipped_without_a_remark(prepare):
    coco = prepare(
        annotations=[annotation(1, (-0.4, 0, 60.8, 40)), annotation(2, (30, 20, 30, 21))]
    )
    assert boxes(coco) == [[0, 0, 60, 40], [30, 20, 30, 20]]
    assert "boxes that overhang their image by a pixel or more" in remarks(coco)


@pytest.mark.parametrize(
    "bbox",
    [
        [1, 2, 3],
        [1, 2, 3, 4, 5],
        [1, 2, 3, "4"],
        [1, 2, 3, None],
        [1, 2, 3, float("nan")],
        [float("inf"), 2, 3, 4],
        {"x": 1},
    ],
)
def test_boxes_that_are_not_four_finite_numbers_are_refused(refused, bbox):
    message = refused(annotations=[annotation(), annotation(2) | {"bbox": bbox}])
    assert "annotations whose bbox is not four finite numbers: 1 (1.jpg" in message


@pytest.mark.parametrize("bbox", [None, []])
def test_segmentation_without_boxes_is_refused(refused, bbox):
    entry = annotation(3, segmentation=[[0, 0, 9, 0, 9, 9]]) | {"bbox": bbox}
    assert "without bbox (but with a segmentation): 1 (1.jpg (id 3))" in refused(
        annotations=[entry]
    )
    del entry["bbox"]
    assert "without bbox" in refused(annotations=[entry])


def test_annotations_of_unknown_images_are_refused_with_the_first_five(refused):
    stray = [annotation(number, image_id=number) for number in range(1, 9)]
    message = refused(annotations=[*stray, annotation(9, image_id=[1])])
    assert "annotations of images that are not listed, by image_id: 8 (2, 3, 4, 5, 6, …)" in message


def test_annotations_of_unknown_categories_are_refused(refused):
    message = refused(annotations=[annotation(category_id=9), annotation(2, category_id=None)])
    assert "annotations of categories that are not listed, by category_id: 2 (9, None)" in message


def test_annotations_are_renumbered_from_1(prepare):
    coco = prepare(annotations=[annotation(0), annotation(4), annotation(4)])
    assert [entry["id"] for entry in coco["annotations"]] == [1, 2, 3]
    assert "annotation ids used more than once, renumbered: 1 (4)" in remarks(coco)


def test_crowds_are_kept_and_marked(prepare, refused):
    crowds = [annotation(2, iscrowd=1), annotation(3, ignore=1)]
    coco = prepare(annotations=[annotation(), *crowds])
    assert [entry["iscrowd"] for entry in coco["annotations"]] == [0, 1, 1]
    assert "ignored in training and evaluation: 2 (" in remarks(coco)
    assert "no boxes" in refused(annotations=crowds)


def test_subsets_without_images_or_boxes_are_refused(refused):
    assert "no images" in refused(images=[], annotations=[])
    assert "no annotations" in refused(annotations=[])
    for classes in (None, ["cell"]):
        normalized = [annotation(1, (0.1, 0.2, 0.5, 0.5))]
        message = refused(annotations=normalized, classes=classes)
        assert "no boxes" in message and "less than one pixel wide or high" in message


# images


def test_images_without_boxes_are_kept_as_background(prepare):
    coco = prepare(images=[image(1), image(2), image(3)])
    assert [entry["id"] for entry in coco["images"]] == [1, 2, 3]
    assert "images without boxes, kept as background: 2 (2.jpg, 3.jpg)" in remarks(coco)


def test_file_names_may_have_folders_spaces_and_unicode(prepare, tmp_path):
    names = ["sub folder/Zellen größe.jpg", "./血.png", str(tmp_path / "deep/a/b.JPG")]
    coco = prepare(images=[image(k, file_name=name) for k, name in enumerate(names, start=1)])
    assert [entry["file_name"] for entry in coco["images"]] == [
        "sub folder/Zellen größe.jpg",
        "血.png",
        "deep/a/b.JPG",
    ]
    assert all(path.is_file() for path in subsets.image_paths(coco))
    detour = tmp_path / "deep" / ".."
    assert (
        checking.prepare(Source("coco", tmp_path / "coco.json", detour))["images"] == coco["images"]
    )


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([image(1), image(1, file_name="2.jpg")], "image ids used more than once: 1"),
        ([image(1), image(2, file_name="./1.jpg")], "more than one image: 1 ('1.jpg')"),
        ([image(1, file_name="../1.jpg")], "outside the image root"),
        ([image(1, file_name="/1.jpg")], "outside the image root"),
        ([image(1, file_name="1.txt")], "file names without an image suffix: 1 (1.txt)"),
        ([image("1")], "without an integer id"),
        ([image(1, file_name=None)], "without an integer id and a file_name"),
        ([{"id": 1}], "without an integer id and a file_name"),
        (
            [image(1), *map(image, range(20, 30))],
            ": 10 (20.jpg, 21.jpg, 22.jpg, 23.jpg, 24.jpg, …)",
        ),
    ],
)
def test_faulty_image_entries_are_refused(refused, tmp_path, images, said):
    save(tmp_path / "1.jpg")
    message = refused(images=images, make=False)
    assert said in message
    if "missing" in said:
        assert "20.jpg, 21.jpg, 22.jpg, 23.jpg, 24.jpg, …" in message


def test_a_missing_image_root_is_refused(tmp_path):
    coco = {"images": [image(1)], "annotations": [annotation()]}
    coco["categories"] = [{"id": 1, "name": "cell"}]
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    with pytest.raises(InputError, match="none: no such image folder"):
        checking.prepare(Source("coco", tmp_path / "coco.json", tmp_path / "none"))


def test_declared_sizes_are_optional_but_must_match_the_images(prepare, refused):
    bare = {"id": 1, "file_name": "1.jpg"}
    for entry in (bare, bare | {"width": None, "height": None}, bare | {"width": 0, "height": 0}):
        coco = prepare(images=[entry])
        assert (coco["images"][0]["width"], coco["images"][0]["height"]) == (WIDTH, HEIGHT)
        assert (
            "images without declared width and height, read from the files: 1 (1.jpg)"
            in remarks(coco)
        )
    message = refused(images=[image(1, width=HEIGHT, height=WIDTH)])
    assert "1.jpg (declared 40x60, is 60x40)" in message


def encoded(format="JPEG", **options):
    pixels = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        *[encoded()[: int(len(encoded()) * part)] for part in (0.01, 0.3, 0.9, 0.999)],
        encoded(progressive=True)[:-500],
        encoded()[:-2],
        encoded("PNG")[:-500],
        encoded("WEBP")[:-500],
        encoded("TIFF")[:-500],
        b"",
        b"<html>Not found</html>",
    ],
)
def test_truncated_images_are_refused(refused, tmp_path, content):
    (tmp_path / "1.jpg").write_bytes(content)
    save(tmp_path / "2.jpg")
    images = [image(1, width=300, height=200), image(2)]
    assert "cannot be decoded: 1 (1.jpg" in refused(images=images)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("grey.jpg", np.full((HEIGHT, WIDTH), 9, np.uint8)),
        ("alpha.png", np.full((HEIGHT, WIDTH, 4), 9, np.uint8)),
        ("lossless.jp2", np.full((HEIGHT, WIDTH, 3), 9, np.uint8)),
    ],
)
def test_images_of_other_formats_and_channels_are_accepted(prepare, tmp_path, name, array):
    assert cv2.imwrite(str(tmp_path / name), array)
    assert len(boxes(prepare(images=[image(1, file_name=name)]))) == 1


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_an_image_with_bad_exif_is_accepted(prepare, tmp_path):
    exif = b"Exif\x00\x00II*\x00\xff\xff\x00\x00" + bytes(range(50))
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "1.jpg", exif=exif)
    assert len(boxes(prepare())) == 1


# EXIF orientation


def save_rotated(path, orientation, size=(WIDTH, HEIGHT), box=(10, 4, 20, 8)):
    """Save a dark image with a white rectangle; size and box are those before orientation."""
    x, y, width, height = box
    pixels = np.zeros((size[1], size[0]), np.uint8)
    pixels[y : y + height, x : x + width] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(
        path, exif=exif, **({"quality": 95} if path.suffix == ".jpg" else {})
    )


def white_box(path):
    """Return the xywh box of the white rectangle in the upright, decoded image."""
    decoded = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    with Image.open(path) as opened:  # another decoder turns it the same way
        assert np.abs(np.asarray(ImageOps.exif_transpose(opened)) - decoded.astype(int)).max() < 9
    rows, columns = np.nonzero(decoded > 127)
    x, y = columns.min(), rows.min()
    return [x, y, columns.max() + 1 - x, rows.max() + 1 - y]


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_before_exif_orientation_are_turned_upright(prepare, tmp_path, orientation, suffix):
    path = tmp_path / f"1.{suffix}"
    save_rotated(path, orientation)
    coco = prepare([image(1, file_name=path.name)], [annotation(bbox=(10, 4, 20, 8))])
    assert boxes(coco) == [white_box(path)]
    assert (coco["images"][0]["width"], coco["images"][0]["height"]) == (HEIGHT, WIDTH)
    assert "images declared with their size before EXIF orientation" in remarks(coco)


def test_turned_boxes_are_clipped_to_the_upright_image(prepare, tmp_path):
    save_rotated(tmp_path / "1.jpg", 6)
    # Stored 60x40, turned clockwise: the stored left becomes the top, the bottom becomes the left.
    coco = prepare(annotations=[annotation(bbox=(-10, 30, 20, 20))])
    assert boxes(coco) == [[0, 0, 10, 10]]


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_of_images_that_are_declared_upright_are_not_turned(prepare, tmp_path, orientation):
    save_rotated(tmp_path / "1.jpg", orientation)
    box = white_box(tmp_path / "1.jpg")
    entry = image(1, width=HEIGHT, height=WIDTH)
    coco = prepare([entry], [annotation(bbox=np.array(box).tolist())])
    assert boxes(coco) == [box]
    assert not coco["info"]["remarks"]


@pytest.mark.parametrize(
    ("orientation", "size"),
    [(2, (WIDTH, HEIGHT)), (3, (WIDTH, HEIGHT)), (4, (WIDTH, HEIGHT)), (6, (50, 50))],
)
def test_boxes_are_assumed_upright_if_the_declared_size_fits_both_ways(
    prepare, tmp_path, orientation, size
):
    save_rotated(tmp_path / "1.jpg", orientation, size)
    box = np.array(white_box(tmp_path / "1.jpg")).tolist()
    coco = prepare([image(1, width=size[0], height=size[1])], [annotation(bbox=box)])
    assert boxes(coco) == [box]
    assert "images with an EXIF orientation" in remarks(coco)


# annotation files


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "not JSON"),
        ("<annotation/>", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        ('[{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]', "found a JSON list"),
        ('{"images": [], "categories": []}', "key 'annotations' is missing; keys found: 'images'"),
        ('{"images": {}, "annotations": [], "categories": []}', "'images' is not a list"),
        ('{"images": [1], "annotations": [], "categories": []}', "'images' is not a list"),
    ],
)
def test_files_that_are_not_coco_are_refused(tmp_path, content, said):
    path = tmp_path / "coco.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as error:
        checking.prepare(Source("coco", path, tmp_path))
    assert said in str(error.value) and str(path) in str(error.value)
    assert "COCO" in str(error.value)


def test_a_missing_annotation_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: cannot be read \(No such file"):
        checking.prepare(Source("coco", tmp_path / "none.json", tmp_path))


def test_a_byte_order_mark_is_accepted(prepare, tmp_path):
    clean = prepare()
    path = tmp_path / "coco.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert checking.prepare(Source("coco", path, tmp_path)) == clean


# --- BCCD -----------------------------------------------------------------------------------------

BCCD = os.environ.get("DETMAKE_BCCD")


@pytest.mark.skipif(
    not BCCD, reason="DETMAKE_BCCD is not set; it names a folder with BCCD in COCO format"
)
def test_bccd_is_accepted_and_its_two_boxes_without_area_are_dropped():
    located = sources.locate(BCCD)
    train = checking.prepare(located["train"])
    assert subsets.class_names(train) == ["Platelets", "RBC", "WBC"]
    assert len(train["images"]) == 255
    assert len(train["annotations"]) == 3448
    assert "boxes without area, dropped: 2 (" in remarks(train)
    val = checking.prepare(located["val"], subsets.class_names(train))
    per_class = np.bincount([entry["category_id"] for entry in val["annotations"]])
    assert per_class.tolist() == [0, 76, 819, 72]  # as in the tutorial's table
