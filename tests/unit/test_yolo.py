"""Datasets of Ultralytics YOLO."""

import logging
import os
from pathlib import Path

import pytest
from dataset_case import Dataset, boxes, remark

from detmake.data import image_digests
from detmake.data.image_digests import listed_digest
from detmake.errors import InputError

DATA_YAML = "path: .\ntrain: images/train\nval: images/val\ntest:\nnames:\n  0: cat\n  1: dog\n"
ONE_DOG = "1 0.5 0.5 0.2 0.4\n"  # of 200×100 pixels


@pytest.fixture
def yolo(tmp_path):
    """A dataset with one box in each of two subsets."""
    dataset = Dataset(tmp_path / "set")
    dataset.write({"data.yaml": DATA_YAML})
    for subset in ("train", "val"):
        dataset.draw(f"images/{subset}/a.png")
        dataset.write({f"labels/{subset}/a.txt": ONE_DOG})
    return dataset


DOG = ("dog", [80, 30, 40, 40])


def test_a_dataset_is_read(yolo):
    yolo.draw("images/train/b.png", "images/train/c.JPG", "images/train/deeper/d.png")
    yolo.write(
        {
            "labels/train/a.txt": ONE_DOG + "\n0 0.25 0.75 0.1 0.5\n",
            "labels/train/b.txt": "",
            "labels/train/deeper/d.txt": "0 0.1 0.2 0.3 0.2 0.3 0.6 0.1 0.5\n",
            "labels/train/classes.txt": "cat\ndog\n",
        }
    )
    coco = yolo.prepare()
    assert yolo.boxes() == {
        "a": [DOG, ("cat", [40, 50, 20, 50])],
        "b": [],
        "c": [],
        "d": [("cat", [20, 20, 40, 40])],  # the box around the polygon
    }
    assert [category["name"] for category in coco["categories"]] == ["cat", "dog"]
    assert [image["file_name"] for image in coco["images"]] == [
        f"images/train/{name}" for name in ("a.png", "b.png", "c.JPG", "deeper/d.png")
    ]
    assert coco["info"]["image_root"] == str(yolo.folder)
    assert [text[:49] for text in coco["info"]["remarks"]] == [
        "images without boxes, kept as background: 2 (imag"
    ]
    assert yolo.boxes("val") == {"a": [DOG]}
    assert yolo.source("test") == yolo.source("val")


@pytest.mark.parametrize(
    "text",
    [
        "train: images/train\nval: images/val\nnc: 2\nnames: [cat, dog]\n",
        "train: [images/train]\nval: [images/val]\nnames: {'0': cat, '1': dog}\n",
        "train: ../images/train\nval: ../images/val\nnames: [cat, dog]\n",  # as Roboflow writes it
        "path: /content/gone\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n",
        "path: C:\\data\\set\ntrain: images\\train\nval: images\\val\nnames: [cat, dog]\n",
        "path: ../set\ntrain: images/train\nvalidation: images/val\nnames: [cat, dog]\n",
        "\ufefftrain: images/train\r\nval: images/val\r\nnames:\r\n- cat\r\n- dog\r\n",
        "train: train.txt\nval: images/val\nnames: [cat, dog]\n",
        "train: windows.txt\nval: images/val\nnames: [cat, dog]\n",
    ],
)
def test_forms_of_a_data_yaml(yolo, text):
    yolo.write(
        {
            "data.yaml": text,
            "train.txt": "./images/train/a.png\n\n",
            "windows.txt": "\ufeffimages\\train\\a.png\r\n",
        }
    )
    assert yolo.boxes() == yolo.boxes("val") == {"a": [DOG]}
    yolo.data = str(yolo.folder / "data.yaml")
    assert yolo.boxes() == {"a": [DOG]}


def test_names_may_be_missing_as_with_ultralytics(yolo):
    yolo.write({"data.yaml": "train: images/train\nval: images/val\nnc: 2\n"})
    assert yolo.boxes() == {"a": [("class_1", DOG[1])]}


def test_of_poses_the_box_is_taken(yolo):
    yolo.write({"data.yaml": f"{DATA_YAML}kpt_shape: [2, 2]\n"})
    yolo.write({"labels/train/a.txt": f"{ONE_DOG.strip()} 0.1 0.2 0.3 0.4\n"})
    assert yolo.boxes() == {"a": [DOG]}


def test_several_parts_and_images_elsewhere(yolo, tmp_path):
    elsewhere = Dataset(tmp_path / "elsewhere")
    elsewhere.draw("photos/b.png")
    elsewhere.write({"photos/b.txt": ONE_DOG, "list.txt": f"{tmp_path}/elsewhere/photos/b.png\n"})
    yolo.write(
        {
            "data.yaml": DATA_YAML.replace(
                "images/train", f"[images/train, {tmp_path}/elsewhere/photos]"
            )
        }
    )
    coco = yolo.prepare()
    assert yolo.boxes() == {"a": [DOG], "b": [DOG]}
    assert coco["info"]["image_root"] == str(tmp_path)
    yolo.write({"data.yaml": DATA_YAML.replace("images/train", f"{tmp_path}/elsewhere/list.txt")})
    assert yolo.boxes() == {"b": [DOG]}


@pytest.mark.parametrize("list_file", ["lists/train.txt", "photos/train.txt", "all.txt"])
def test_file_names_do_not_depend_on_where_the_data_is(yolo, tmp_path, list_file):
    """A split goes by them."""
    data = Dataset(tmp_path / "data")
    data.draw("photos/a.png")
    data.write({"photos/a.txt": ONE_DOG, "cfg/data.yaml": DATA_YAML})
    up = "../photos" if list_file.startswith("lists") else "photos"
    up = "." if list_file.startswith("photos") else up
    data.write({list_file: f"{up}/a.png\n"})
    data.write({"cfg/data.yaml": f"train: ../{list_file}\nval: ../{list_file}\nnames: [a, dog]\n"})
    data.data = str(data.folder / "cfg/data.yaml")
    assert data.boxes() == {"a": [DOG]}
    root = Path(data.prepare()["info"]["image_root"])
    assert root == data.folder / ("photos" if list_file.startswith("photos") else "")


@pytest.mark.parametrize("options", [{}, {"group": r"^images/(.)"}, {"groups": True}])
def test_an_image_from_elsewhere_moves_no_other_image_of_a_split(yolo, tmp_path, options):
    names = [f"images/{k}.png" for k in range(24)]
    yolo.draw(*names, "../new/images/z.png")
    yolo.write({f"labels/{k}.txt": ONE_DOG for k in range(24)})
    yolo.write({"../new/labels/z.txt": ONE_DOG, "all.txt": "\n".join(names)})
    yolo.write({"data.yaml": "train: all.txt\nnames: [cat, dog]\n"})
    if options.get("groups"):
        yolo.write({"groups.csv": f"image,group\n{names[1]},{names[0]}\n{names[2]},{names[0]}\n"})
        options = {"groups": str(yolo.folder / "groups.csv")}
    yolo.data = {"source": str(yolo.folder), "split": {"val": 0.25, "test": 0.25}, **options}
    before = {subset: set(yolo.boxes(subset)) for subset in ("train", "val", "test")}
    assert "split_name" not in yolo.prepare()["images"][0]
    with open(yolo.folder / "all.txt", "a") as lines:
        lines.write("\n../new/images/z.png\n")
    after = {subset: yolo.prepare(subset) for subset in before}
    assert {subset: set(boxes(coco)) - {"z"} for subset, coco in after.items()} == before
    assert {coco["info"]["image_root"] for coco in after.values()} == {str(tmp_path)}
    entries = {e["file_name"]: e["split_name"] for c in after.values() for e in c["images"]}
    assert entries == {f"set/{name}": name for name in names} | {
        "new/images/z.png": "../new/images/z.png"
    }


def test_without_any_label_file_the_message_says_where_they_should_be(yolo):
    (yolo.folder / "labels/train/a.txt").unlink()
    yolo.refused(
        "there are no annotations", f"looked for {yolo.folder}/labels/train/a.txt and so on"
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("2 0.5 0.5 0.2 0.4", ("whose class is not an index of names, 0 to 1", "cat, dog")),
        ("-1 0.5 0.5 0.2 0.4", ("whose class is not an index of names",)),
        ("0.5 0.5 0.5 0.2 0.4", ("whose class is not an index of names",)),
        ("1 0.5 0.5 0.2", ("not five numbers",)),
        ("", ()),
        ("1 0.5 0.5 0.2 0.4 0.9", ("not five numbers",)),
        ("dog 0.5 0.5 0.2 0.4", ("not five numbers",)),
        ("1 100 50 40 40", ("not within the image, from 0 to 1", "Divide pixels")),
        ("1 0.5 -0.5 0.2 0.4", ("not within the image",)),
        ("1 0.5 nan 0.2 0.4", ("not within the image",)),
        ("1 0.1 0.2 0.3 0.2 0.3 1.6", ("not within the image",)),
    ],
)
def test_a_bad_line_is_named(yolo, line, said):
    yolo.write({"labels/train/a.txt": f"{ONE_DOG}\r\n{line}\r\n"})
    if said:
        yolo.refused(
            *said,
            f"labels/train/a.txt line 3 ({line!r})",
            ": 1 (",
        )
    else:
        assert yolo.boxes() == {"a": [DOG]}


def test_labels_with_a_byte_order_mark_or_another_encoding(yolo):
    yolo.write({"labels/train/a.txt": f"\ufeff{ONE_DOG}"})
    assert yolo.boxes() == {"a": [DOG]}
    yolo.write({"labels/train/a.txt": ONE_DOG.encode("utf-16")})
    with pytest.raises(InputError, match=r"labels/train/a\.txt: not a text file in UTF-8"):
        yolo.prepare()


def test_a_box_at_the_edge_is_clipped_and_its_line_is_named(yolo):
    yolo.write({"labels/train/a.txt": "0 1.0 0.5 0.2 0.2\n"})
    assert yolo.boxes() == {"a": [("cat", [180, 40, 20, 20])]}
    assert "labels/train/a.txt line 1" in remark(yolo.prepare(), "clipped")


def test_folders_of_images_or_labels_without_the_other_are_named(yolo):
    """As if one of them had been renamed."""
    yolo.draw("images/train/cam_1/b.png", "images/train/cam_2/c.png")
    yolo.write({f"labels/train/{name}.txt": ONE_DOG for name in ("cam_1/b", "Cam2/c")})
    coco = yolo.prepare()
    assert boxes(coco) == {"a": [DOG], "b": [DOG], "c": []}
    said = remark(coco, "images of folders without a label file")
    assert f"looked for {yolo.folder}/labels/train/cam_2/c.txt" in said
    assert said.endswith(": 1 (images/train/cam_2/c.png)")
    said = remark(coco, "folders of label files without images")
    assert said.endswith(f": 1 ({yolo.folder}/labels/train/Cam2)")


def test_a_link_to_a_folder_does_not_rename_it(yolo):
    yolo.draw("images/train/day_2/b.png")
    yolo.write({"labels/train/day_2/b.txt": ONE_DOG})
    (yolo.folder / "images/train/current").symlink_to("day_2")
    assert yolo.boxes() == {"a": [DOG], "b": [DOG]}


def test_images_or_labels_of_one_name(yolo):
    yolo.draw("images/train/a.jpg")
    yolo.refused("names that several images share", "a.jpg and ", "rename or remove")
    (yolo.folder / "images/train/a.jpg").unlink()
    yolo.write({"images/train/a.txt": ONE_DOG})
    yolo.refused("with two label files", "images/train", "labels/train")


def test_a_label_without_an_image_is_left_out(yolo, caplog):
    yolo.write({"labels/train/b.txt": ONE_DOG, "labels/train/a.TXT": ONE_DOG})
    with caplog.at_level(logging.WARNING, logger="detmake"):
        assert remark(yolo.prepare(), "without an image, left out").endswith(": 2 (a.TXT, b.txt)")
    assert "without an image" in caplog.text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("names:\n  0: cat\n  1: dog\n", "", "names is None"),
        ("names:\n  0: cat\n  1: dog\n", "names: [cat, dog]\nnc: 3\n", "nc is 3, but names has 2"),
        ("names:\n  0: cat\n  1: dog\n", 'names: [cat]\nnc: "1"\n', "nc is '1'. Expected the num"),
        ("names:\n  0: cat\n  1: dog\n", 'nc: "2"\n', "nc is '2'. Expected the number of classes"),
        ("1: dog", "1: cat", "names has 'cat' more than once"),
        ("images/train", "C:\\data\\train", "train is C:\\data\\train, a path of Windows"),
        ("1: dog", "2: dog", "indices in names are [0, 2]"),
        ("train: images/train", "train: {a: b}", "train is {'a': 'b'}"),
        ("train: images/train", "", "train is missing"),
    ],
)
def test_a_faulty_data_yaml_is_refused(yolo, old, new, said):
    yolo.write({"data.yaml": DATA_YAML.replace(old, new)})
    yolo.refused(said, f"{yolo.folder}/data.yaml: ")


def test_names_that_are_not_utf8_are_refused(yolo):
    name = os.fsencode(yolo.folder / "images/train") + b"/caf\xe9.png"
    with open(name, "wb") as image:
        image.write((yolo.folder / "images/train/a.png").read_bytes())
    said = r"images whose file_name is not Unicode text (UTF-8): 1 ('images/train/caf\udce9.png')"
    yolo.refused(said, "Rename the file")
    yolo.data = {"source": str(yolo.folder), "split": {"test": 0.5}}
    yolo.refused(said)


def test_lists_with_windows_drives_or_missing_images(yolo):
    yolo.write({"data.yaml": DATA_YAML.replace("images/train", "list.txt")})
    yolo.write({"list.txt": "C:\\set\\images\\train\\a.png\n"})
    yolo.refused("list.txt: found the path C:/set/images/train/a.png, of Windows")
    yolo.write({"list.txt": "./images/train/a.png\nimages/train/q.png\n"})
    yolo.refused("image files missing", "images/train/q.png")
    yolo.write({"list.txt": "/home/other/images/train/a.png\n"})
    yolo.refused("listed images that are not there: 1 (/home/other/images/train/a.png)")


def test_a_missing_image_does_not_decide_where_a_list_starts(yolo):
    yolo.write({"data.yaml": DATA_YAML.replace("images/train", "lists/train.txt")})
    yolo.write({"lists/train.txt": "images/train/gone.png\nimages/train/a.png\n"})
    yolo.refused("image files missing", ": 1 (images/train/gone.png)")


def test_a_list_whose_folders_are_missing_is_refused(yolo):
    yolo.write({"data.yaml": DATA_YAML.replace("images/train", "list.txt")})
    yolo.write({"list.txt": "images/gone/a.png\n", "labels/gone/a.txt": ONE_DOG})
    yolo.refused("image files missing", "images/gone/a.png")


def test_the_digest_follows_images_labels_and_lists(yolo):
    digests = [yolo.digest()]

    def changed(subset="train"):
        digests.append(yolo.digest(subset))
        return len(set(digests)) == len(digests)

    yolo.write({"labels/train/a.txt": "1 0.5 0.5 0.2 0.5\n"})
    assert changed()
    yolo.draw("images/train/b.png")
    assert changed()
    yolo.write({"labels/train/b.txt": ""})
    assert changed()
    (yolo.folder / "labels/train/a.txt").unlink()
    assert changed()
    yolo.write({"data.yaml": DATA_YAML.replace("images/train", "list.txt")})
    yolo.write({"list.txt": "images/train/a.png\nimages/train/b.png\n"})
    assert yolo.digest() == digests[-1]  # the same images and labels
    yolo.write({"list.txt": "images/train/a.png\n"})
    assert changed()
    assert {file.name for file in yolo.source().files} == {"data.yaml", "list.txt"}
    yolo.draw("images/train/c.png")  # not listed
    yolo.write({"labels/train/b.txt": ONE_DOG, "labels/train/notes.csv": ""})
    assert yolo.digest() == digests[-1]


def test_the_digest_follows_images_and_labels_beside_a_link_to_the_data_yaml(yolo, tmp_path):
    yolo.write({"cfg/data.yaml": DATA_YAML.replace("path: .", "path: ..")})
    (tmp_path / "disk").mkdir()
    (yolo.folder / "cfg").rename(tmp_path / "disk/moved")
    (yolo.folder / "cfg").symlink_to(tmp_path / "disk/moved")
    yolo.data = str(yolo.folder / "cfg/data.yaml")
    digests = [yolo.digest()]
    yolo.write({"labels/train/a.txt": "0 0.5 0.5 0.2 0.5\n"})
    digests.append(yolo.digest())
    yolo.draw("images/train/a.png", size=(10, 10))
    assert len({*digests, yolo.digest()}) == 3


def test_a_digest_without_a_change_opens_no_label(yolo, tmp_path, monkeypatch):
    first = listed_digest(yolo.source(), tmp_path / "cache")

    def refuse(*_args):
        raise AssertionError("called")

    monkeypatch.setattr(image_digests, "sha256", refuse)
    monkeypatch.setattr("detmake.data.formats.yolo._text", refuse)
    assert listed_digest(yolo.source(), tmp_path / "cache") == first
