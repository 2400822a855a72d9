"""Random configurations and annotation files: they are read, or refused by `InputError`.

Nearly right ones reach deeper than noise, so most are made from a right one by a few changes.
`pytest --fuzz 5000` takes more examples, and other ones each time.
"""

import copy
import json
import logging
import re

import configuration_case
import pytest
import yaml
from dataset_case import HEIGHT, WIDTH, Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detmake.build import configuration
from detmake.data import sources
from detmake.errors import InputError

EXAMPLES = 50

TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["", " ", "\0", "\n", "\ud800", "..", "/", "a.png", "nan", "1e999", "-1", "="]),
    st.sampled_from(["n" * 300, "9" * 5000, "0x" + "f" * 5000, "٣", "2024-02-30", "train", "{x}"]),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(),
    TEXTS,
    st.sampled_from([2**53 + 1, -(10**400), 0, 1]),
)
VALUES = st.recursive(
    SCALARS,
    lambda values: (
        st.lists(values, max_size=3)
        | st.dictionaries(TEXTS | st.integers() | st.dates(), values, max_size=3)
    ),
    max_leaves=6,
)


def places(value, above=()):
    """Yield the path of each part of nested lists and mappings."""
    yield above
    keys = value if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0)
    for key in keys:
        yield from places(value[key], (*above, key))


@st.composite
def changed(draw, right):
    """A copy with up to three parts replaced, removed, renamed or doubled."""
    value = copy.deepcopy(right)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(sorted(places(value), key=str)))
        if not place:
            continue
        part = value
        for key in place[:-1]:
            part = part[key]
        change = draw(st.sampled_from(["replace", "replace", "remove", "rename", "double"]))
        if change == "replace":
            part[place[-1]] = draw(VALUES)
        elif change == "remove":
            del part[place[-1]]
        elif isinstance(part, list):
            part.insert(0, copy.deepcopy(part[place[-1]]))
        else:
            part[draw(TEXTS)] = part.pop(place[-1]) if change == "rename" else part[place[-1]]
    return value


@st.composite
def edited(draw, right):
    """A text with up to three of its words replaced, removed or doubled; as bytes."""
    words = re.split(r"(\W)", right)
    for _ in range(draw(st.integers(1, 3))):
        index = draw(st.integers(0, len(words) - 1))
        words[index] = draw(TEXTS | st.sampled_from(["", words[index] * 2, "<a>", "&#0;", "<!--"]))
    content = "".join(words).encode(errors="surrogatepass")
    return content + draw(st.just(b"") | st.binary(max_size=3))


@pytest.fixture
def fuzz(request):
    """Call a function, which may raise InputError, with many examples of a strategy."""
    logging.getLogger("detmake").setLevel(logging.CRITICAL)
    count = request.config.option.fuzz

    def call(strategy, function):
        @settings(
            max_examples=count or EXAMPLES,
            derandomize=not count,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def accept(example):
            try:
                function(example)
            except InputError as error:
                assert str(error).replace("\n", "").isprintable()

        accept()

    yield call
    logging.getLogger("detmake").setLevel(logging.NOTSET)


# Configuration

resolve, templates = configuration_case.resolve, configuration_case.templates
CONFIGURATION = {
    "template": "atss_mobilenetv2",
    "input_size": [128, 96],
    "backbone": {"type": "ResNet", "depth": 18},
    "pretrained": {"source": "a.pth", "channel_order": "rgb"},
    "data": {
        "source": "nowhere",
        "split": {"val": 0.2, "test": 0.1},
        "group": r"a(\d)",
        "seed": 1,
        "classes": {"all": ["cat", "dog"]},
        "on_leak": "warn",
    },
    "tiling": {"size": 128, "overlap": 0.1},
    "learning_parameters": {"epochs": 3, "learning_rate": 1e-3, "enable_early_stopping": False},
    "resources": {"gpus": 2},
    "minutes": 5,
    "results": "results",
    "runs": {"a": {"data": {"train": {"ann-files": "x"}}, "demo": {"source": "0"}}},
}


def test_configurations(fuzz, resolve):
    def read(layers):
        for run in resolve(*layers).values():
            json.dumps(run, allow_nan=False)
            sources.named_paths(run["data"], lambda path: False)
            sources.locate(run["data"])

    layer = changed(CONFIGURATION)
    small = st.just({}) | changed({"data": {"train": 1}, "input_size": "[64, 64]", "minutes": "3"})
    fuzz(st.tuples(layer, small), read)


def test_configuration_files(fuzz, tmp_path):
    file = tmp_path / "config.yaml"

    def read(content):
        file.write_bytes(content)
        configuration.check_file(file)

    fuzz(edited(yaml.safe_dump(CONFIGURATION) + "x: &x [1, 2024-01-01]\ny: {<<: {a: *x}}\n"), read)


# Annotations

COCO = {
    "images": [{"id": 3, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
    "annotations": [
        {"id": k, "image_id": 3, "category_id": k, "bbox": [1, 2.5, 3, 4], "iscrowd": 0}
        for k in (1, 2)
    ],
    "categories": [{"id": 1, "name": "cat", "supercategory": "pet"}, {"id": 2, "name": "dog"}],
}
DATA_YAML = {"path": ".", "train": ["train"], "val": "train", "nc": 2, "names": {0: "a", 1: "b"}}
LABELS = "0 0.5 0.5 0.1 0.1\n1 0.1 0.1 0.1 0.9 0.9 0.1\n"
VOC = f"""<annotation><filename>a.png</filename>
<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>
<object><name>cat</name><difficult>0</difficult>
<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>"""
CVAT = f"""<annotations><meta><task><labels><label><name>cat</name></label></labels></task></meta>
<image id="0" name="a.png" width="{WIDTH}" height="{HEIGHT}" subset="train">
<box label="cat" xtl="1" ytl="2" xbr="{WIDTH // 2}" ybr="9.5" rotation="3"/>
<polygon label="cat" points="1,2;3,4;5,0"/></image></annotations>"""


def as_json(value) -> bytes:
    return json.dumps(value, default=str, skipkeys=True).encode()


def as_yaml(value) -> bytes:
    return yaml.safe_dump(value).encode()


#: A file, the strategy of its content, and the files beside it.
FILES = {
    "coco": ("train/_annotations.coco.json", changed(COCO).map(as_json), {}),
    "coco text": ("train/_annotations.coco.json", edited(json.dumps(COCO)), {}),
    "data.yaml": ("data.yaml", changed(DATA_YAML).map(as_yaml), {"train/a.txt": LABELS}),
    "data.yaml text": ("data.yaml", edited(yaml.safe_dump(DATA_YAML)), {"train/a.txt": LABELS}),
    "labels": ("train/a.txt", edited(LABELS), {"data.yaml": yaml.safe_dump(DATA_YAML)}),
    "a list of YOLO": (
        "list.txt",
        edited("./train/a.png\ntrain/a.png\n"),
        {"data.yaml": "train: list.txt\nval: train\nnames: [a, b]", "train/a.txt": LABELS},
    ),
    "voc": ("train/a.xml", edited(VOC), {}),
    "a list of VOC": (
        "ImageSets/Main/train.txt",
        edited("a 1\na.png -1\n"),
        {"Annotations/a.xml": VOC},
    ),
    "cvat": ("train/annotations.xml", edited(CVAT), {}),
    "groups": ("groups.csv", edited('image,group\na.png,"x, y"\n'), {"train/a.xml": VOC}),
}


@pytest.mark.parametrize(("file", "content", "others"), FILES.values(), ids=FILES)
def test_annotations(fuzz, tmp_path, file, content, others):
    dataset = Dataset(tmp_path)
    folder = "JPEGImages" if file.startswith("ImageSets") else "train"
    dataset.draw(f"{folder}/a.png", "valid/b.png")
    dataset.write({"valid/_annotations.coco.json": "{}", **others})
    if file == "groups.csv":
        split = {"split": {"val": 0.001}, "groups": str(tmp_path / file)}
        dataset.data = {"source": str(tmp_path / "train"), **split}
    elif file.startswith("ImageSets"):
        dataset.data = {"source": str(tmp_path), "split": {"val": 0.001}}

    def read(example):
        dataset.write({file: example})
        dataset.digest()
        json.dumps(dataset.prepare(), allow_nan=False, ensure_ascii=False).encode()

    fuzz(content, read)
