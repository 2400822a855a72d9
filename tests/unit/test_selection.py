"""Splits of one set of images into subsets, and the classes that are taken."""

import json
import random
from collections import Counter

import pytest
from dataset_case import Dataset, remark

from detmake.data.selection import group_of, position, read_groups
from detmake.errors import InputError


def test_positions_are_spread_evenly_and_depend_on_the_seed():
    positions = [position(f"{k}.jpg", 0) for k in range(20_000)]
    counts = Counter(int(10 * value) for value in positions)
    # 2000 of each tenth are expected, with a standard deviation of 42.
    assert sorted(counts) == list(range(10))
    assert max(abs(count - 2000) for count in counts.values()) < 200
    others = [position(f"{k}.jpg", 1) for k in range(20_000)]
    both = sum(a < 0.5 and b < 0.5 for a, b in zip(positions, others, strict=True))
    assert abs(both - 5000) < 300


def test_positions_stay_the_same_in_later_versions():
    """Worked out with `sha256sum`: another number would move a user's images."""
    # printf '0\0a.jpg' | sha256sum
    assert position("a.jpg", 0) == int("e439d64aed98", 16) / 2**48


@pytest.mark.parametrize(
    ("pattern", "name", "group"),
    [
        (None, "a/frame_x_1.jpg", None),
        (r"frame_(\w+)_\d+", "a/frame_x_1.jpg", "x"),
        (r"^[^/]+", "a/frame_x_1.jpg", "a"),
        (r"(\w)/frame_(\w)", "a/frame_x_1.jpg", "a/x"),
        (r"scene\d", "a/frame_x_1.jpg", None),
        (r"\d*", "a/frame_x_1.jpg", None),  # finds the empty text before the first letter
        (r"frame_(\d*)", "a/frame_x_1.jpg", None),
        (r"(\d)?(x)?_", "a/frame_x_1.jpg", None),
        (r"(\d)?(x)_", "a/frame_x_1.jpg", "/x"),
    ],
)
def test_groups(pattern, name, group):
    assert group_of(name, pattern) == group


class Coco(Dataset):
    """One COCO file for all images."""

    def annotate(self, *names, categories=("dog", "cat")):
        images = [{"id": k, "file_name": name} for k, name in enumerate(names)]
        boxes = [
            {"id": k, "image_id": k, "category_id": k % len(categories), "bbox": [10, 20, 30, 40]}
            for k in range(len(names))
        ]
        classes = [{"id": k, "name": name} for k, name in enumerate(categories)]
        coco = {"images": images, "annotations": boxes, "categories": classes}
        self.draw(*(name for name in names if not (self.folder / name).exists()))
        self.write({"all.json": json.dumps(coco)})

    def names(self, subset):
        return {image["file_name"] for image in self.prepare(subset)["images"]}


@pytest.fixture
def coco(tmp_path):
    dataset = Coco(tmp_path / "set")
    dataset.annotate(*(f"video{k // 4}_{k % 4}.png" for k in range(60)))
    source = str(dataset.folder / "all.json")
    dataset.data = {"source": source, "split": {"val": 0.2, "test": 0.2}}
    return dataset


def subsets(dataset) -> dict[str, str]:
    """The subset of each image; each must be in one."""
    found = {}
    for subset in ("train", "val", "test"):
        for name in dataset.names(subset):
            assert name not in found
            found[name] = subset
    return found


def test_each_image_is_in_one_subset(coco):
    found = subsets(coco)
    assert len(found) == 60
    counts = Counter(found.values())
    assert 5 <= counts["val"] <= 19
    assert 5 <= counts["test"] <= 19
    assert remark(coco.prepare("val"), "by the split").startswith(
        f"{counts['val']} of 60 images taken by the split (share 20%)"
    )
    coco.data |= {"seed": 1}
    assert subsets(coco) != found


def test_adding_removing_and_reordering_images_moves_no_other(coco):
    before = subsets(coco)
    names = [name for name in before if name != "video3_1.png"] + [f"new{k}.png" for k in range(9)]
    random.Random(0).shuffle(names)
    coco.annotate(*names)
    after = subsets(coco)
    assert len(after) == 68
    assert {name: after[name] for name in before if name in after}.items() <= before.items()


def test_another_share_of_val_leaves_test_as_it_is(coco):
    test = coco.names("test")
    val = coco.names("val")
    coco.data["split"] = {"val": 0.4, "test": 0.2}
    assert coco.names("test") == test
    assert coco.names("val") > val


def test_the_groups_of_a_file_stay_together_and_later_lines_move_no_other_image(coco, tmp_path):
    """A group that is named after an image goes where that image went."""
    before, file = subsets(coco), tmp_path / "groups.csv"
    val, train = (next(n for n in before if before[n] == subset) for subset in ("val", "train"))
    coco.data |= {"groups": str(file)}
    file.write_text(f"image,group\n{train},{val}\n", encoding="utf-8")
    after = subsets(coco)
    assert after == before | {train: "val"}
    entries = {entry["file_name"]: entry for entry in coco.prepare("val")["images"]}
    assert entries[train]["group"] == val
    assert "group" not in entries[val]
    coco.annotate(*before, "later.png")
    file.write_text(f"image,group\n{train},{val}\nlater.png,{train}\n", encoding="utf-8")
    assert subsets(coco) == after | {"later.png": before[train]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "found nothing in the first line, expected image,group"),
        ("name,group\n", "expected image,group"),
        ("image,group\na.png\n", "row 2: found ['a.png']"),
        ("image,group\na.png,x\na.png,y\n", "row 3: found ['a.png', 'y']"),
        ("image,group\na.png,\n", "row 2"),
        ("image,group\na.png, \n", "row 2: found ['a.png', ' ']"),
        (b"image,group\n\xff,x\n", "cannot be read as CSV"),
    ],
)
def test_a_file_of_groups_that_is_wrong_is_refused(coco, content, said):
    coco.data |= {"groups": str(coco.folder / "groups.csv")}
    coco.write({"groups.csv": content})
    coco.refused("groups.csv", said)


def test_lines_of_groups_that_name_no_image_are_named(coco):
    coco.data |= {"groups": str(coco.folder / "groups.csv")}
    coco.write({"groups.csv": "image,group\nimages\\video1_0.png,x\nimages/video1_1.png,x\n"})
    said = "none of which is in the dataset: 2 (images/video1_0.png, images/video1_1.png)"
    coco.refused(said, "as in video0_0.png")
    coco.write({"groups.csv": "image,group\nvideo1_0.png,x\nvideo1_9.png,x\n\n"})
    said = remark(coco.prepare("val"), "not in the dataset")
    assert said.startswith("images in") and said.endswith(": 1 (video1_9.png)")


def test_names_of_groups_may_be_of_windows(coco):
    names = [f"day{k // 15}/{k}.png" for k in range(30)]
    coco.annotate(*names)
    coco.data |= {"groups": str(coco.folder / "groups.csv")}
    lines = "".join(f"{name},x\n" for name in names[:20]).replace("/", "\\")
    coco.write({"groups.csv": f"image,group\n{lines}"})
    assert len({subset for name, subset in subsets(coco).items() if name in names[:20]}) == 1


@pytest.mark.parametrize("form", ["day0/0.png", "day0\\0.png", " day0/0.png", "day0\\0.png "])
def test_a_group_named_after_an_image_stays_with_it_in_any_form(coco, form):
    coco.annotate(*(f"day{k // 15}/{k}.png" for k in range(30)))
    before = subsets(coco)
    other = next(name for name in before if before[name] != before["day0/0.png"])
    file = coco.folder / "groups.csv"
    coco.data |= {"groups": str(file)}
    file.write_text(f"image,group\n {other},{form}\n")
    assert subsets(coco) == before | {other: before["day0/0.png"]}
    entries = coco.prepare(before["day0/0.png"])["images"]
    assert {e["group"] for e in entries if e["file_name"] == other} == {"day0/0.png"}


def test_other_names_of_groups_stay_as_they_are(tmp_path):
    """A change would move a user's images."""
    file = tmp_path / "groups.csv"
    file.write_text("image,group\n c.png , b.png\na.png,cam\\1\nd.png, x\n")
    groups = {"c.png": " b.png", "a.png": "cam\\1", "d.png": " x"}
    assert read_groups(file, {"a.png", " b.png", "c.png", "d.png"}) == groups


def test_a_pattern_and_a_file_of_groups_exclude_each_other(coco):
    coco.data |= {"groups": "groups.csv", "group": "x"}
    with pytest.raises(InputError, match="`group` and `groups`"):
        coco.source()


def test_a_group_stays_together(coco):
    coco.data |= {"group": r"video(\d+)_"}
    found = subsets(coco)
    for video in range(15):
        assert len({found[f"video{video}_{k}.png"] for k in range(4)}) == 1
    assert len(set(found.values())) == 3
    image = coco.prepare("val")["images"][0]
    assert image["group"] == image["file_name"].removeprefix("video").split("_")[0]
    assert "of 60 images in 15 groups taken" in remark(coco.prepare("val"), "by the split")


def test_images_without_a_group_are_remarked_on(coco):
    coco.annotate("video1_0.png", "video1_1.png", *(f"{k}.png" for k in range(30)))
    coco.data |= {"group": "video(.)_"}
    assert remark(coco.prepare(), "no `group`").endswith(
        ": 30 (0.png, 1.png, 2.png, 3.png, 4.png, …)"
    )
    coco.data |= {"group": "scene"}
    coco.refused("none of whose names `group` (scene) finds anything", "video1_0.png")


def test_an_empty_subset_is_refused(coco):
    coco.annotate("a.png", "b.png")
    coco.data["split"] = {"val": 1e-9}
    said = "all.json (val): `split` took none of 2 images (share 0%)"
    coco.refused(said, "choose another `seed`", subset="val")


def test_only_the_images_of_a_subset_are_decoded(coco):
    (name, *_) = coco.names("train")
    (coco.folder / name).write_bytes(b"")
    coco.prepare("val")
    coco.refused("cannot be decoded", name)


def classes_of(coco):
    return [category["name"] for category in coco["categories"]]


def boxes_of(coco):
    names = {category["id"]: category["name"] for category in coco["categories"]}
    return [names[entry["category_id"]] for entry in coco["annotations"]]


def test_classes_are_selected_and_the_others_are_left_out(coco):
    coco.annotate("a.png", "b.png", "c.png", "d.png", categories=("dog", "cat", "cow", "dogs"))
    one = {"ann-files": str(coco.folder / "all.json")}
    coco.data = {"train": one, "val": one, "classes": ["cow", "dog"]}
    train = coco.prepare()
    assert classes_of(train) == ["cow", "dog"]
    assert boxes_of(train) == ["dog", "cow"]
    assert remark(train, "does not select") == (
        "classes that `classes` does not select, left out: 2 ('cat' (boxes: 1), 'dogs' (boxes: 1))"
    )
    assert "images without boxes, kept as background: 2 (b.png, d.png)" in train["info"]["remarks"]


def test_classes_are_merged(coco):
    coco.annotate("a.png", "b.png", "c.png", categories=("car", "dog", "van"))
    one = {"ann-files": str(coco.folder / "all.json")}
    coco.data = {"train": one, "val": one}
    coco.data["classes"] = {"vehicle": ["van", "car"], "animal": ["dog"]}
    train = coco.prepare()
    assert classes_of(train) == ["vehicle", "animal"]
    assert boxes_of(train) == ["vehicle", "animal", "vehicle"]
    # The val subset need not have all of them.
    coco.annotate("a.png", categories=("van",))
    assert boxes_of(coco.prepare("val", classes_of(train))) == ["vehicle"]


def test_unknown_names_are_refused(coco):
    coco.data |= {"classes": {"vehicle": ["car", "dog"]}}
    coco.refused("names in `classes` that the annotations do not have: 1 ('car')", "'cat', 'dog'")
