"""Hostile input, case by case: it is read rightly, or refused with a message; nothing else."""

import copy
import json
from functools import reduce

import configuration_case
import cv2
import numpy as np
import pytest
import yaml
from dataset_case import HEIGHT, WIDTH, Dataset

from detmake import yaml_text
from detmake.build import configuration
from detmake.data import sources
from detmake.errors import InputError

HUGE = 10**400
LONG = "n" * 300
REMOVED = object()
#: Said by no message: the case is read.
READ = None


def check(make, said):
    """Call a function: it says this in a refusal, or it returns what JSON and UTF-8 can hold."""
    if said is READ:
        json.dumps(make(), allow_nan=False, ensure_ascii=False).encode()
        return
    with pytest.raises(InputError) as caught:
        make()
    message = str(caught.value)
    assert said in message
    assert message.replace("\n", "").isprintable()
    assert len(message) < 2500


@pytest.fixture
def dataset(tmp_path):
    return Dataset(tmp_path / "data")


# COCO

COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 40]}],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
}
COCO_CASES = [
    # place                      value                      what the refusal says
    ("images.0.id", 2**53 + 1, "image ids beyond 2^53"),
    ("images.0.id", -HUGE, "image ids beyond 2^53"),
    ("images.0.id", True, "without an integer id"),
    ("images.0.id", 1.0, "without an integer id"),
    ("images.0.width", str(WIDTH), "width: '200', height: 100"),
    ("images.0.width", [WIDTH], "width or height is not a number"),
    ("images.0.width", HUGE, "width or height is not a number"),
    ("images.0.width", float("nan"), "width or height is not a number"),
    ("images.0.width", -WIDTH, "declared -200x100"),
    ("images.0.width", float(WIDTH), READ),
    ("images.0.file_name", "\0.png", r"missing in"),
    ("images.0.file_name", "\x1b[2J.png", r"\x1b[2J.png"),
    ("images.0.file_name", "\ud800.png", "not Unicode text"),
    ("images.0.file_name", f"{LONG}.png", "image files missing"),
    ("images.0.file_name", "../../etc/passwd.png", "outside the image root"),
    ("images.0.file_name", "/etc/passwd.png", "outside the image root"),
    ("images.0.file_name", " ", "and a file_name"),
    ("images.0.file_name", ["a.png"], "and a file_name"),
    ("images", {"1": {}}, "'images' is not a list"),
    ("annotations.0.bbox.0", HUGE, "not four finite numbers"),
    ("annotations.0.bbox.0", True, "not four finite numbers"),
    ("annotations.0.bbox.2", 1e308, READ),
    ("annotations.0.bbox.3", float("inf"), "not four finite numbers"),
    ("annotations.0.bbox.3", "40", "not four finite numbers"),
    ("annotations.0.image_id", True, "images that are not listed"),
    ("annotations.0.image_id", HUGE, "images that are not listed"),
    ("annotations.0.category_id", {"$ref": 1}, "categories that are not listed"),
    ("annotations.0.id", ["x"], READ),
    ("annotations.0.iscrowd", "0", "iscrowd or ignore"),
    ("annotations.0.ignore", {}, "iscrowd or ignore"),
    ("categories.0.id", 2**60, "category ids beyond 2^53"),
    ("categories.0.name", "dog\n", READ),
    ("categories.0.name", "a\tb\n c", READ),
    ("categories.0.name", "\u3000", "and a name"),
    ("categories.0.name", "nul\0", "control characters"),
    ("categories.0.name", "\x1b[31mred", "control characters"),
    ("categories.0.name", "\udcff", "not Unicode text"),
    ("categories.0.name", "dog\u200b", r"dog\u200b"),
    ("categories.0.name", "Dog", READ),
    ("categories.0.name", LONG, READ),
    ("categories.0.name", '=HYPERLINK("http://x")', READ),
    ("categories.0.name", "$(touch x); {run} `id` | <script>\u202e", READ),
    ("categories.0.supercategory", ["dog"], READ),
]


@pytest.mark.parametrize(("place", "value", "said"), COCO_CASES)
def test_coco(dataset, place, value, said):
    coco = copy.deepcopy(COCO)
    *parents, last = [int(word) if word.isdecimal() else word for word in place.split(".")]
    reduce(lambda part, word: part[word], parents, coco)[last] = value
    if place == "images.0.id":
        coco["annotations"][0]["image_id"] = value
    dataset.draw("train/a.png", "valid/b.png")
    text = json.dumps(coco)
    dataset.write({"train/_annotations.coco.json": text, "valid/_annotations.coco.json": "{}"})
    check(dataset.prepare, said)


COCO_TEXTS = [
    ("", "not JSON"),
    ("[" * 100_000, "not JSON"),
    ('{"images": ' + "9" * 5000, "not JSON"),
    (b"\xff\xfe", "not JSON"),
    ("null", "found a JSON NoneType"),
]


@pytest.mark.parametrize(("text", "said"), COCO_TEXTS)
def test_coco_that_is_no_json(dataset, text, said):
    dataset.draw("train/a.png")
    dataset.write({"train/_annotations.coco.json": text, "valid/_annotations.coco.json": "{}"})
    check(dataset.prepare, said)


TWINS = [
    (["a b", "a_b"], "'a b' and 'a_b'"),
    (["caf\u00e9", "cafe\u0301"], r"'caf\xe9' and 'cafe\u0301'"),
    (["Car", "car"], READ),
    (["car", "cars"], READ),
]


@pytest.mark.parametrize(("names", "said"), TWINS)
def test_classes_that_one_takes_for_another(dataset, names, said):
    coco = COCO | {"categories": [{"id": k, "name": name} for k, name in enumerate(names, 1)]}
    dataset.draw("train/a.png")
    dataset.write(
        {"train/_annotations.coco.json": json.dumps(coco), "valid/_annotations.coco.json": "{}"}
    )
    check(dataset.prepare, said)


# YOLO

DATA_YAML = "train: images\nval: images\nnames: [cat, dog]\n"
YOLO_CASES = [
    # data.yaml                  label                      what the refusal says
    (DATA_YAML, "0 0.5 0.5 0.1 0.1", READ),
    ("train: list.txt\nval: images\nnames: [cat]", "", "listed images that are not there: 2 ("),
    (DATA_YAML, "nan 0.5 0.5 0.1 0.1", "not an index of names"),
    (DATA_YAML, "1e400 0.5 0.5 0.1 0.1", "not an index of names"),
    (DATA_YAML, "0.5 0.5 0.5 0.1 0.1", "not an index of names"),
    (DATA_YAML, "0 nan 0.5 0.1 0.1", "not within the image"),
    (DATA_YAML, "0 320 240 10 10", "Divide pixels by these"),
    (DATA_YAML, "0 \x1b[2J", r"\x1b[2J"),
    (DATA_YAML, b"0 0.5 0.5 0.1 \xff", "not a text file in UTF-8"),
    (DATA_YAML, "=1+1 0.5 0.5 0.1 0.1", "not five numbers"),
    (DATA_YAML + "names: [dog, cat]", "", "the key names in lines 3 and 4"),
    ("train: images\nval: images\nnames:\n  0: cat\n  0: dog", "", "0 in lines 4 and 5"),
    ("train: images\nval: images\nnames: [no, yes]", "", "names has False"),
    ("train: images\nval: images\nnames: [2024-01-01]", "", "names has datetime.date"),
    ("train: images\nval: images\nnames: [~]", "", "names has None"),
    ("train: images\nval: images\nnames: [2024-13-01]", "", "not YAML"),
    ("train: images\nval: images\nnames: &n [*n]", "", "aliases that repeat without end"),
    ("train: images\nval: images\nnames: {0: cat, 2: dog}", "", "the indices in names"),
    ("train: images\nval: images\nnc: 1000000000", "", "the number of classes"),
    ("train: images\nval: images\nnc: -1", "", "the number of classes"),
    ('train: "a\\0b"\nval: images\nnames: [cat]', "", "Expected a folder"),
    (f"train: {LONG}\nval: images\nnames: [cat]", "", "cannot be read"),
    ("train: images\nval: images\nnames: !!python/object/apply:os.system [id]", "", "not YAML"),
    ("- train\n- val", "", "is ['train', 'val'], not a mapping"),
    ("2024-01-01: 3", "", "unknown key"),
]


@pytest.mark.parametrize(("data_yaml", "label", "said"), YOLO_CASES)
def test_yolo(dataset, data_yaml, label, said):
    dataset.draw("images/a.png")
    dataset.write({"data.yaml": data_yaml, "labels/a.txt": label, "list.txt": "//a.png\n//b.png"})
    check(dataset.prepare, said)


def test_a_link_to_a_folder_above_shows_no_image_twice(dataset):
    dataset.draw("images/a.png")
    (dataset.folder / "images/loop").symlink_to("..")
    dataset.write({"data.yaml": DATA_YAML, "labels/a.txt": "0 0.5 0.5 0.1 0.1"})
    assert [image["file_name"] for image in dataset.prepare()["images"]] == ["images/a.png"]


# Pascal VOC and CVAT

VOC = (
    f"<annotation><size><width>{WIDTH}</width><height>{HEIGHT}</height></size><object>"
    "<name>cat</name><bndbox><xmin>10</xmin><ymin>20</ymin><xmax>40</xmax><ymax>60</ymax></bndbox>"
    "</object></annotation>"
)
VOC_CASES = [
    # text                       instead                    what the refusal says
    ("<xmin>10<", "<xmin>1e999<", "not four finite numbers"),
    ("<xmin>10<", "<xmin>nan<", "not four finite numbers"),
    ("<xmin>10<", "<xmin>ten<", "object 1"),
    ("<xmin>10</xmin>", "", "without bndbox/xmin"),
    ("<width>200<", f"<width>{'9' * 5000}<", "not a Pascal VOC annotation"),
    ("<width>200<", "<width>-200<", "declared -200x100"),
    ("<name>cat<", "<name> <", "and a name"),
    ("<name>cat<", "<name>&xxe;<", "not XML"),
    ("<name>cat<", "<name><![CDATA[<script>alert(1)</script>]]><", READ),
    ("<annotation>", "<!DOCTYPE a [<!ENTITY x 'y'>]><annotation>", "DOCTYPE"),
    ("<annotation>", "<?xml version='1.0' encoding='rot13'?><annotation>", "not XML"),
    ("<annotation>", "\0<annotation>", "not XML"),
    ("<annotation>", f"{'<annotation>' * 10_000}", "not XML"),
]


@pytest.mark.parametrize(("text", "instead", "said"), VOC_CASES)
def test_voc(dataset, text, instead, said):
    assert text in VOC
    dataset.draw("train/a.png", "valid/b.png")
    dataset.write({"train/a.xml": VOC.replace(text, instead), "valid/b.xml": VOC})
    check(dataset.prepare, said)


CVAT = (
    f'<annotations><image name="a.png" width="{WIDTH}" height="{HEIGHT}">'
    '<box label="cat" xtl="10" ytl="20" xbr="40" ybr="60"/></image></annotations>'
)
CVAT_CASES = [
    ('xtl="10"', 'xtl="-inf"', "not four finite numbers"),
    ('xtl="10"', 'xtl="10" rotation="inf"', "shapes without their numbers"),
    ('xtl="10"', 'xtl="10" rotation="nan"', "not four finite numbers"),
    ('width="200"', f'width="{"9" * 5000}"', READ),
    ('width="200"', 'width="²"', READ),
    ('name="a.png"', "", "and a file_name"),
    ('name="a.png"', 'name="../data/train/a.png"', "outside the image root"),
    ('name="a.png"', f'name="{LONG}.png"', "image files missing"),
    ('label="cat"', 'label="  "', "and a name"),
    ("<box", "<polygon", "shapes without their numbers"),
]


@pytest.mark.parametrize(("text", "instead", "said"), CVAT_CASES)
def test_cvat(dataset, text, instead, said):
    assert text in CVAT
    dataset.draw("train/a.png")
    content = CVAT.replace(text, instead)
    dataset.write({"train/annotations.xml": content, "valid/annotations.xml": CVAT})
    check(dataset.prepare, said)


# Images


def encoded(suffix: str, pixels: np.ndarray) -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()


SHAPE = (HEIGHT, WIDTH)
WHITE = encoded(".png", np.full(SHAPE, 255, np.uint8))
IMAGES = {
    "12 bits of 16": (
        encoded(".png", np.full(SHAPE, 4095, np.uint16)),
        "more than 8 bits a channel",
    ),
    "16 bits, colour": (encoded(".png", np.full((*SHAPE, 3), 9, np.uint16)), "a.png (uint16)"),
    "floating point": (encoded(".tif", np.full((*SHAPE, 3), 0.5, np.float32)), "a.png (float32)"),
    "grey": (WHITE, READ),
    "transparent": (encoded(".png", np.zeros((*SHAPE, 4), np.uint8)), READ),
    "empty": (b"", "cannot be decoded"),
    "truncated": (WHITE[:60], "cannot be decoded"),
    "a page of the web": (b"<html>404 not found</html>", "cannot be decoded"),
    "billions of pixels": (
        WHITE.replace(
            b"IHDR" + WIDTH.to_bytes(4) + HEIGHT.to_bytes(4), b"IHDR" + b"\0\0\xff\xff" * 2
        ),
        "cannot be decoded",
    ),
}


@pytest.mark.parametrize(("content", "said"), IMAGES.values(), ids=IMAGES)
def test_images(dataset, content, said):
    files = {"train/_annotations.coco.json": json.dumps(COCO), "train/a.png": content}
    dataset.write(files | {"valid/_annotations.coco.json": "{}"})
    check(dataset.prepare, said)


# Configuration

resolve, templates = configuration_case.resolve, configuration_case.templates
CONFIGURATIONS = [
    # config.yaml                                           what the refusal says
    ("minutes: 1" + "0" * 400, "(integer beyond 2^53)"),
    ("minutes: 0x" + "f" * 5000, "a number of 5002 digits"),
    ("minutes: 2024-02-30", "cannot be read"),
    ("minutes: 2024-02-29", '"2024-02-29" (date), expected a finite number'),
    ("minutes: {2024-02-29: 1}", "(mapping), expected a finite number"),
    ("minutes: .nan", "expected a finite number"),
    ("minutes: 1e999", "expected a finite number"),
    ("minutes: true", "expected a finite number"),
    ("learning_parameters: {num_iters: 1" + "0" * 400 + "}", "(integer beyond 2^53)"),
    ("learning_parameters: {batch_size: 1e3}", READ),
    ("learning_parameters: {seed: 0b_}", "cannot be read"),
    ("learning_parameters: {2024-02-29: 1}", "learning_parameters.2024-02-29: unknown key"),
    ("learning_parameters: {seed: 1, seed: 2}", "the key seed in lines 1 and 1"),
    ("a: &a [*a]", "aliases that repeat without end"),
    (
        "a: &a [1,1,1,1,1,1,1,1,1,1]"
        + "".join(
            f"\n{c}: &{c} [{','.join(9 * ['*' + b])}]"
            for b, c in zip("abcdefgh", "bcdefghi", strict=True)
        ),
        "aliases that repeat without end",
    ),
    ("a: " + "[" * 100_000, "values that hold each other"),
    ('"\\x1b[2J": 1', r"\x1b[2J: unknown key"),
    ('results: "results\\n"', r'results: found "results\n"'),
    ("results: $(id)", "results: found"),
    ("results: größe", READ),
    ('runs: {"a\\n": {}}', "as a name, expected a name of letters"),
    ("runs: {$(id): {}}", "as a name, expected a name of letters"),
    ('data: {source: x, split: "auto\\n"}', "data.split: found"),
    ('data: {source: x, classes: ["a\\nb"]}', "data.classes[0]: found"),
    ("template: /dev/null", "expected the path of a .yaml file"),
    ("template: ../../../etc/passwd", "expected the path of a .yaml file"),
    ("backbone: {depth: 2024-02-29}", "backbone.depth: found"),
    ("backbone: {a: [{2024-02-28: 1}]}", "(date) as a name, expected text"),
    ("search: {space: {2024-02-28: [1]}}", "(date) as a name, expected text"),
    (f"template: {'n' * 300}", "expected the path of a .yaml file"),
    (b"minutes: \xe9", "cannot be read"),
    ("x: !!python/object/apply:os.system [id]", "cannot be read"),
    ("__use_yte__: true\nminutes: ?exit(1)", "found __use_yte__, by which Snakemake runs Python"),
]


@pytest.mark.parametrize(("text", "said"), CONFIGURATIONS)
def test_configuration(resolve, tmp_path, text, said):
    file = tmp_path / "config.yaml"
    content = text.encode() if isinstance(text, str) else text
    file.write_bytes(content + (b"" if b"data:" in content else b"\ndata: x\n"))

    def read():
        configuration.check_file(file)
        return resolve(yaml_text.parse(file.read_bytes()))

    check(read, said)


COMMAND_LINES = [
    # --config, as Snakemake passes it on                   what the refusal says
    ({"minutes": "2024-13-45"}, "minutes (command line): found"),
    ({"minutes": "1" + "0" * 400}, "(integer beyond 2^53)"),
    ({"minutes": "nan"}, "minutes (command line): found"),
    ({"minutes": ""}, "minutes (command line): found"),
    ({"minutes": {"a": "1"}}, "(mapping), expected a finite number"),
    ({"learning_parameters": "{epochs: ["}, "expected a mapping"),
    ({"learning_parameters": {"epochs": "!!python/name:os.system"}}, "expected an integer"),
    ({"results": "$(touch pwned)"}, "results (command line): found"),
    ({"results": "--help"}, "results (command line): found"),
    ({"\x1b[2J": "1"}, r"\x1b[2J (command line): unknown key"),
    ({"runs": {"../a": {}}}, "as a name, expected a name of letters"),
    ({"minutes": "[" * 100_000}, "minutes (command line): found"),
    ({"resources": {"partition": "a; touch pwned"}}, READ),  # the plugin for Slurm quotes it
]


@pytest.mark.parametrize(("given", "said"), COMMAND_LINES)
def test_command_lines(resolve, given, said):
    check(lambda: resolve({"data": "x"}, given), said)


def test_a_summary_of_mistakes_prints():
    assert configuration.summary(["data: a\x1b[2J"]).endswith("  data: a\\x1b[2J")


def test_a_merged_mapping_may_replace_a_key():
    text = "a: &a {k: 1}\nx: {b: &b {<<: *a, k: 2}}\nd: {<<: *b}\n"
    assert yaml_text.parse(text) == yaml.safe_load(text)


DATA = [
    # the key `data`                                        what the refusal says
    ({"source": "{}", "split": "auto", "group": "a{9999999999}"}, "not a regular expression"),
    ({"source": "{}", "split": "auto", "group": "("}, "not a regular expression"),
    (LONG, "cannot be read"),
    ("a\0b", "found no annotations"),
    ("\udcff", r"\udcff: found no annotations"),
]


@pytest.mark.parametrize(("data", "said"), DATA)
def test_data(tmp_path, data, said):
    (tmp_path / "a.json").write_text("{}")
    if isinstance(data, dict):
        data = data | {"source": str(tmp_path / "a.json")}
    check(lambda: sources.locate(data), said)
