"""Each format of annotations and each split, from a user's files to prepared subsets."""

import json
import shutil
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import pytest
import yaml
from conftest import DISC, SQUARE, Project

CLASSES = (SQUARE, DISC)
FORMATS = ("yolo", "voc", "cvat")


def read(folder: Path) -> tuple[list[str], list[tuple[int, int, list[float]]]]:
    """The names of a subset's images, and number of the image, class and xywh of its boxes."""
    coco = json.loads((folder / "_annotations.coco.json").read_text(encoding="utf-8"))
    boxes = [(e["image_id"], e["category_id"] - 1, e["bbox"]) for e in coco["annotations"]]
    return [image["file_name"] for image in coco["images"]], boxes


def write_yolo(data: Path, folder: Path) -> None:
    """Labels beside a data.yaml; val is a list."""
    for subset in ("train", "valid"):
        names, boxes = read(data / subset)
        (folder / f"labels/{subset}").mkdir(parents=True)
        shutil.copytree(data / subset, folder / f"images/{subset}")
        for number, name in enumerate(names):
            lines = [
                f"{k} {(x + w / 2) / 160} {(y + h / 2) / 120} {w / 160} {h / 120}\n"
                for image, k, (x, y, w, h) in boxes
                if image == number
            ]
            if lines:
                label = folder / f"labels/{subset}/{Path(name).stem}.txt"
                label.write_text("".join(lines))
        (folder / f"{subset}.txt").write_text("".join(f"./images/{subset}/{n}\n" for n in names))
    content = {"train": "images/train", "val": "valid.txt", "names": dict(enumerate(CLASSES))}
    (folder / "data.yaml").write_text(yaml.safe_dump(content))


def write_voc(data: Path, folder: Path) -> None:
    """The layout of VOC; names differ between the subsets."""
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    for subset, file in (("train", "train"), ("valid", "val")):
        names, boxes = read(data / subset)
        for number, name in enumerate(names):
            objects = "".join(
                f"<object><name>{escape(CLASSES[k])}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin>"
                f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>"
                for image, k, (x, y, w, h) in boxes
                if image == number
            )
            stem = f"{subset} {Path(name).stem}"
            text = f"<annotation><filename>{escape(stem)}.png</filename>{objects}</annotation>"
            (folder / f"Annotations/{stem}.xml").write_text(text)
            shutil.copy(data / subset / name, folder / f"JPEGImages/{stem}.png")
        lines = [f"{subset} {Path(name).stem}\n" for name in names]
        (folder / f"ImageSets/Main/{file}.txt").write_text("".join(lines))


def write_cvat(data: Path, folder: Path) -> None:
    for subset in ("train", "valid"):
        names, boxes = read(data / subset)
        shutil.copytree(data / subset, folder / subset / "images")
        images = "".join(
            f'<image id="{number}" name={quoteattr(name)} width="160" height="120">'
            + "".join(
                f"<box label={quoteattr(CLASSES[k])} "
                f'xtl="{x}" ytl="{y}" xbr="{x + w}" ybr="{y + h}"/>'
                for image, k, (x, y, w, h) in boxes
                if image == number
            )
            + "</image>"
            for number, name in enumerate(names)
        )
        (folder / subset / "annotations.xml").write_text(f"<annotations>{images}</annotations>")


SPLIT = {"source": "data/train", "split": {"val": 0.3}, "group": r"image (\d)", "seed": 0}
RUNS = {
    **{name: {"data": name} for name in FORMATS},
    "split": {"data": SPLIT},
    "merged": {"data": {"source": "data", "classes": {"shape": [DISC, SQUARE]}}},
}
TARGETS = [f"results/{run}/dataset/{s}.json" for run in RUNS for s in ("train", "val")]
TARGETS += [f"results/dataset/{subset}.json" for subset in ("train", "val")]


@pytest.fixture(scope="module")
def formats(template_project, tmp_path_factory) -> Project:
    """A project with the same data in all formats, prepared. Not to be changed: copy it."""
    project = template_project.copy(tmp_path_factory.mktemp("formats") / "project")
    writers = {"yolo": write_yolo, "voc": write_voc, "cvat": write_cvat}
    for name, write in writers.items():
        write(project.folder / "data", project.folder / name)
    project.configure(runs=RUNS)
    project.snakemake(*TARGETS)
    return project


def boxes(project: Project, run: str, subset: str) -> list:
    """Contents of the images, and classes and boxes in them."""
    coco = project.json(f"results/{run}/dataset/{subset}.json")
    names = {category["id"]: category["name"] for category in coco["categories"]}
    images = {image["id"]: image["sha256"] for image in coco["images"]}
    found = {sha256: [] for sha256 in images.values()}
    for entry in coco["annotations"]:
        box = [round(value, 3) for value in entry["bbox"]]
        found[images[entry["image_id"]]].append((names[entry["category_id"]], box))
    return sorted((sha256, sorted(entries)) for sha256, entries in found.items())


@pytest.mark.parametrize("run", FORMATS)
@pytest.mark.parametrize("subset", ["train", "val"])
def test_all_formats_give_the_same_subsets(formats, run, subset):
    assert boxes(formats, run, subset) == boxes(formats, ".", subset)


def test_a_split_divides_the_images(formats):
    parts = [boxes(formats, "split", subset) for subset in ("train", "val")]
    assert all(parts)
    assert sorted(parts[0] + parts[1]) == boxes(formats, ".", "train")
    image = formats.json("results/split/dataset/val.json")["images"][0]
    assert image["group"] == image["file_name"].removeprefix("image ")[0]


def test_classes_are_merged(formats):
    coco = formats.json("results/merged/dataset/train.json")
    assert [category["name"] for category in coco["categories"]] == ["shape"]
    assert len(coco["annotations"]) == sum(len(e) for _, e in boxes(formats, ".", "train"))


@pytest.fixture
def own(formats, tmp_path) -> Project:
    return formats.copy(tmp_path / "project")


def test_unchanged_files_make_nothing_stale(own):
    assert own.stale(*TARGETS) == {}


def replace_text(file: str, old: str, new: str):
    def change(folder: Path) -> None:
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1))

    return change


def copy_image(source: str, target: str):
    return lambda folder: shutil.copy(folder / source, folder / target)


#: A change of the user's files, and the prepared subsets that are stale: train is before val.
CHANGES = {
    "a label": (replace_text("yolo/labels/train/image 0.txt", "0", "1"), 2),
    "a new image of YOLO": (copy_image("data/train/image 1.png", "yolo/images/train/n.png"), 2),
    "a list of YOLO": (replace_text("yolo/valid.txt", "./images/valid/image 0.png\n", ""), 1),
    "data.yaml": (replace_text("yolo/data.yaml", "disc", "ring"), 2),
    "an XML file": (replace_text("voc/Annotations/valid image 0.xml", "<xmin>", "<xmin>1"), 1),
    "a list of ImageSets": (replace_text("voc/ImageSets/Main/train.txt", "train image 0\n", ""), 2),
    "an image of VOC": (
        copy_image("data/train/image 1.png", "voc/JPEGImages/train image 2.png"),
        2,
    ),
    "the file of CVAT": (replace_text("cvat/valid/annotations.xml", 'xtl="', 'xtl="1'), 1),
    "an image of CVAT": (copy_image("data/train/image 1.png", "cvat/train/images/image 2.png"), 2),
    "a seed": (replace_text("config.yaml", "seed: 0", "seed: 1"), 2),
    "a share": (replace_text("config.yaml", "val: 0.3", "val: 0.4"), 2),
}


@pytest.mark.parametrize(("change", "count"), CHANGES.values(), ids=CHANGES)
def test_a_change_makes_its_subset_stale(own, change, count):
    change(own.folder)
    assert own.stale(*TARGETS) == {"prepare_dataset": count}


def test_a_message_names_the_line_of_the_users_file(own):
    label = own.folder / "yolo/labels/train/image 0.txt"
    label.write_text("7 0.5 0.5 0.1 0.1\n")
    output = own.snakemake("results/yolo/dataset/train.json", fails=True)
    assert "yolo/labels/train/image 0.txt line 1 ('7 0.5 0.5 0.1 0.1')" in output
    assert "Traceback" not in output
