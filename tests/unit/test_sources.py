"""Where the files of a dataset are."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from detmake.data import sources
from detmake.data.annotated import Share, Source
from detmake.errors import InputError

# The file of the OTX tutorial, word for word.
TUTORIAL_DATA_YAML = """\
  {'data': 
    {'train': 
      {'ann-files': '/home/<username>/training_extensions/BCCD/train/_annotations.coco.json',
       'data-roots': '/home/<username>/training_extensions/datasets/BCCD/train'},
    'val':
      {'ann-files': '/home/<username>/training_extensions/datasets/BCCD/valid/_annotations.coco.json',
       'data-roots': '/home/<username>/training_extensions/datasets/BCCD/valid'},
    'test':
      {'ann-files': '/home/<username>/training_extensions/datasets/BCCD/valid/_annotations.coco.json',
       'data-roots': '/home/<username>/training_extensions/datasets/BCCD/valid'}
    }
  }
"""  # noqa: E501


def coco(file, root):
    return Source("coco", Path(file), Path(root))


def write(folder, *files):
    """Create files, and folders whose names end with a slash."""
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(exist_ok=True) if name.endswith("/") else path.touch()


def annotate(file, *names):
    """Write a COCO file that lists images."""
    images = [{"id": k, "file_name": name} for k, name in enumerate(names)]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"images": images, "annotations": [], "categories": []}))


def test_locate_accepts_the_tutorials_data_yaml(tmp_path):
    (tmp_path / "data.yaml").write_text(TUTORIAL_DATA_YAML)
    otx = Path("/home/<username>/training_extensions")
    valid = otx / "datasets/BCCD/valid"
    assert sources.locate(tmp_path / "data.yaml") == {
        "train": coco(otx / "BCCD/train/_annotations.coco.json", otx / "datasets/BCCD/train"),
        "val": coco(valid / "_annotations.coco.json", valid),
        "test": coco(valid / "_annotations.coco.json", valid),
    }


def test_paths_in_a_data_yaml_are_relative_to_it(tmp_path):
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets/data.yaml").write_text(
        "train: {ann-files: a/train.json, data-roots: ../images}\nval: {ann-files: b/val.json}\n"
    )
    located = sources.locate(tmp_path / "sets/data.yaml")
    assert located["train"] == coco(tmp_path / "sets/a/train.json", tmp_path / "sets/../images")
    assert located["val"] == coco(tmp_path / "sets/b/val.json", tmp_path / "sets/b")


def test_val_replaces_a_missing_test_subset():
    data = {
        "train": {"ann-files": "train.json", "data-roots": "/images"},
        "val": {"ann-files": "val/val.json"},
    }
    located = sources.locate(data)
    assert located["train"] == coco("train.json", "/images")
    assert located["test"] == located["val"] == coco("val/val.json", "val")
    assert list(located) == ["train", "val", "test"]


@pytest.mark.parametrize(
    ("existing", "folders"),
    [
        (["train/_annotations.coco.json", "valid/", "test/"], ("train", "valid", "test")),
        (["train/_annotations.coco.json", "val/", "test/"], ("train", "val", "test")),
        (["train/_annotations.coco.json", "val/", "valid/", "test/"], ("train", "valid", "test")),
        (["train/_annotations.coco.json", "val/"], ("train", "val", "val")),
        (["train/_annotations.coco.json", "valid/"], ("train", "valid", "valid")),
    ],
)
def test_locate_accepts_a_folder_in_the_tutorials_layout(tmp_path, existing, folders):
    write(tmp_path / "BCCD", *existing)
    located = sources.locate(str(tmp_path / "BCCD"))
    roots = [tmp_path / "BCCD" / folder for folder in folders]
    expected = [coco(root / "_annotations.coco.json", root) for root in roots]
    assert list(located.values()) == expected


@pytest.mark.parametrize("existing", [[], ["train/"], ["train/_annotations.coco.json"]])
def test_a_folder_that_a_rule_makes_has_all_subsets(tmp_path, existing):
    write(tmp_path, *existing)
    located = sources.locate(tmp_path, lambda path: path.name == "_annotations.coco.json")
    assert [source.root.name for source in located.values()] == ["train", "valid", "test"]


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        (
            ["Annotations/a.xml", "JPEGImages/"],
            {"train": ("voc", "Annotations", "JPEGImages")},
        ),
        (
            [
                *("Annotations/a.xml", "JPEGImages/", "ImageSets/Main/train.txt"),
                *("ImageSets/Main/val.txt", "ImageSets/Main/trainval.txt"),
            ],
            {
                "train": ("voc", "Annotations", "JPEGImages", "ImageSets/Main/train.txt"),
                "val": ("voc", "Annotations", "JPEGImages", "ImageSets/Main/val.txt"),
            },
        ),
        (
            [
                *("Annotations/a.xml", "JPEGImages/", "ImageSets/Main/trainval.txt"),
                "ImageSets/Main/test.txt",
            ],
            {
                "train": ("voc", "Annotations", "JPEGImages", "ImageSets/Main/trainval.txt"),
                "test": ("voc", "Annotations", "JPEGImages", "ImageSets/Main/test.txt"),
            },
        ),
        (["a.jpg", "a.xml"], {"train": ("voc", ".", ".")}),
        (
            ["train/a.xml", "valid/a.xml", "test/a.xml"],
            {
                "train": ("voc", "train", "train"),
                "val": ("voc", "valid", "valid"),
                "test": ("voc", "test", "test"),
            },
        ),
        (["annotations.xml", "images/a.jpg"], {"train": ("cvat", "annotations.xml", "images")}),
        (["annotations.xml", "a.jpg"], {"train": ("cvat", "annotations.xml", ".")}),
        (
            ["annotations/instances_default.json", "images/a.jpg"],
            {"train": ("coco", "annotations/instances_default.json", "images")},
        ),
        (["_annotations.coco.json", "a.jpg"], {"train": ("coco", "_annotations.coco.json", ".")}),
        (["result.json", "images/a.jpg"], {"train": ("coco", "result.json", "images")}),
        (
            ["train/all.json", "train/images/a.jpg", "val/all.json", "val/images/a.jpg"],
            {
                "train": ("coco", "train/all.json", "train/images"),
                "val": ("coco", "val/all.json", "val/images"),
            },
        ),
        (["x/", "day 1/a.xml", "day 1/a.jpg"], {"train": ("voc", ".", ".")}),
        (["2024/day 1/a.xml", "2024/day 1/a.jpg"], {"train": ("voc", ".", ".")}),
        (
            ["train/2024/1/a.xml", "train/2024/1/a.jpg", "valid/a.xml"],
            {"train": ("voc", "train", "train"), "val": ("voc", "valid", "valid")},
        ),
        (
            ["Annotations/1/a.xml", "JPEGImages/1/a.jpg"],
            {"train": ("voc", "Annotations", "JPEGImages")},
        ),
        (
            ["annotations/all.json", "annotations/xmls/a.xml", "images/a.jpg"],
            {"train": ("coco", "annotations/all.json", "images")},
        ),
        (
            ["result.json", "images/2024/1/a.xml", "images/2024/1/a.jpg"],
            {"train": ("coco", "result.json", "images")},
        ),
    ],
)
def test_locate_finds_out_the_format_of_a_folder(tmp_path, existing, expected):
    write(tmp_path, *existing)
    located = sources.locate({"source": str(tmp_path), "split": "auto"})
    assert {
        subset: (
            source.format,
            *(os.path.relpath(p, tmp_path) for p in (source.annotations, source.root)),
            *(os.path.relpath(p, tmp_path) for p in source.parts),
        )
        for subset, source in located.items()
        if subset in expected
    } == expected
    shares = [subset for subset in located if subset not in expected]
    assert all(located[subset].share for subset in shares)
    assert (located["train"].share is None) == (len(expected) == 3)


def test_without_annotations_the_message_says_what_it_looked_for(tmp_path):
    write(tmp_path, "a.jpg", "labels.csv")
    with pytest.raises(InputError) as error:
        sources.locate(tmp_path)
    for said in ("data.yaml", "Annotations/", "_annotations.coco.json", "annotations.xml"):
        assert said in str(error.value)
    assert "The folder holds a.jpg, labels.csv." in str(error.value)


@pytest.mark.parametrize(
    "existing",
    [
        ["images/a.jpg", "labels/a.txt", "notes.json", "classes.txt"],  # YOLO, of Label Studio
        ["images/1/a.jpg", "images/1/a.xml", "labels/1/a.txt"],
        ["images/a.jpg", "xml/a.xml"],
        ["VOC2012/Annotations/a.xml", "VOC2012/JPEGImages/a.jpg"],
        ["images/a.jpg", "a.json", "b.json"],
    ],
)
def test_what_is_no_annotation_of_the_images_beside_it_is_not_taken_for_one(tmp_path, existing):
    write(tmp_path, *existing)
    with pytest.raises(InputError, match=r"(?s)found no annotations.*names: \[cat, dog\]"):
        sources.locate(tmp_path)


def test_one_file_is_split(tmp_path):
    write(tmp_path, "all.json", "a.jpg", "all.csv")
    whole = coco(tmp_path / "all.json", tmp_path)
    data = {"source": str(tmp_path / "all.json"), "split": {"val": 0.2, "test": 0.1}, "seed": 3}
    located = sources.locate(data | {"group": "a.*"})
    assert located == {
        "train": replace(whole, share=Share(0.1 + 0.2, 1.0, 3, "a.*")),
        "val": replace(whole, share=Share(0.1, 0.1 + 0.2, 3, "a.*")),
        "test": replace(whole, share=Share(0.0, 0.1, 3, "a.*")),
    }
    assert sources.locate(data | {"split": {"val": 0.5}})["test"].share == Share(0, 0.5, 3, None)
    with pytest.raises(InputError, match=r"it has no val subset.*split: auto"):
        sources.locate(tmp_path / "all.json")
    with pytest.raises(InputError, match="a file of another kind"):
        sources.locate(tmp_path / "all.csv")


def test_a_split_makes_only_the_subsets_that_are_missing(tmp_path):
    write(tmp_path, "train/_annotations.coco.json", "valid/_annotations.coco.json")
    located = sources.locate({"source": str(tmp_path), "split": "auto"})
    assert located["val"].share is None
    assert located["test"] == replace(located["train"], share=Share(0, 0.15, 0, None))
    assert located["train"].share == Share(0.15, 1, 0, None)
    write(tmp_path, "test/_annotations.coco.json")
    assert sources.locate({"source": str(tmp_path), "split": "auto"}) == sources.locate(tmp_path)


@pytest.mark.parametrize("lists", [["val"], ["test"], ["val", "trainval"]])
def test_lists_without_one_to_train_on_are_refused(tmp_path, lists):
    """Images of val or test could come into train."""
    write(tmp_path, "Annotations/a.xml", "JPEGImages/")
    write(tmp_path / "ImageSets/Main", *(f"{name}.txt" for name in lists))
    with pytest.raises(InputError, match=rf"Main: found {lists[0]}\.txt, but no .* Add train\.txt"):
        sources.locate({"source": str(tmp_path), "split": "auto"})


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("listed", ["a.jpg", "images/b.jpg"])
def test_a_stray_image_beside_the_file_or_in_images_does_not_count(tmp_path, listed, absolute):
    write(tmp_path, "a.jpg", "images/b.jpg")
    root = (tmp_path / listed).parent
    annotate(tmp_path / "all.json", str(tmp_path / listed) if absolute else Path(listed).name)
    data = {"source": str(tmp_path / "all.json"), "split": "auto"}
    assert sources.locate(data)["train"].root == root
    (tmp_path / "all.json").write_text("{")
    assert sources.locate(data)["train"].root == tmp_path / "images"


@pytest.mark.parametrize("real", ["images", "annotations/images"])
def test_of_two_folders_of_images_the_one_that_the_file_lists_counts(tmp_path, real):
    write(tmp_path, "images/preview.png", "annotations/images/preview.png", f"{real}/a.png")
    annotate(tmp_path / "annotations/all.json", "a.png")
    located = sources.locate({"source": str(tmp_path), "split": "auto"})
    assert os.path.samefile(located["train"].root, tmp_path / real)


def test_subsets_may_share_a_folder_of_images(tmp_path):
    write(tmp_path, "images/a.jpg", "images/b.jpg", "test/")
    for subset, name in {"train": "a.jpg", "valid": "b.jpg"}.items():
        annotate(tmp_path / subset / "_annotations.coco.json", name)
    assert sources.locate(tmp_path) == {
        subset: coco(tmp_path / folder / "_annotations.coco.json", tmp_path / "images")
        for subset, folder in {"train": "train", "val": "valid", "test": "test"}.items()
    }


def test_a_missing_image_does_not_decide_on_the_folder(tmp_path):
    write(tmp_path, "images/preview.png", "b.jpg")
    annotate(tmp_path / "all.json", "missing.jpg", "b.jpg")
    located = sources.locate({"source": str(tmp_path / "all.json"), "split": "auto"})
    assert located["train"].root == tmp_path


def test_originals_beside_the_subsets_do_not_count(tmp_path):
    for subset in ("train", "valid"):
        write(tmp_path, f"{subset}/a.jpg", "images/a.jpg")
        annotate(tmp_path / subset / "_annotations.coco.json", "a.jpg")
    located = sources.locate(tmp_path)
    assert [located[name].root for name in ("train", "val")] == [
        tmp_path / "train",
        tmp_path / "valid",
    ]


def test_suffixes_may_be_in_capitals(tmp_path):
    write(tmp_path, "a/all.XML", "b/all.JSON")
    for file, kind in (("a/all.XML", "cvat"), ("b/all.JSON", "coco")):
        located = sources.locate({"source": str(tmp_path / file), "split": "auto"})
        one = {"ann-files": str(tmp_path / file)}
        assert located["train"].format == kind
        assert sources.locate({"train": one, "val": one})["train"].format == kind
    (tmp_path / "data.YAML").write_text("train: {ann-files: a.json}\nval: {ann-files: b.json}")
    assert sources.locate(tmp_path / "data.YAML")["train"] == coco(tmp_path / "a.json", tmp_path)


SUBSETS = {"train": {"ann-files": "a.json"}, "val": {"ann-files": "b.json"}}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (SUBSETS | {"source": "a"}, "has source and train, val"),
        (SUBSETS | {"split": {"val": 0.1}}, "it has its own val subset"),
        ({"train": SUBSETS["train"], "split": {"test": 0.1}}, "it has no val subset"),
        ({"train": SUBSETS["train"], "split": {"val": 0.5, "test": 0.5}}, "nothing is left"),
        (SUBSETS | {"group": "a"}, "`group` has no effect without `split`"),
        (SUBSETS | {"seed": 0}, "`seed` has no effect without `split`"),
        (SUBSETS | {"split": "auto", "group": "("}, "not a regular expression"),
        (SUBSETS | {"classes": {"a": ["b"], "c": ["b"]}}, "`classes` has b more than once"),
    ],
)
def test_faulty_splits_and_classes_are_refused(data, said):
    with pytest.raises(InputError, match=re.escape(said)):
        sources.locate(data)


def test_classes_are_selected_or_merged():
    located = sources.locate(SUBSETS | {"classes": ["b", "a"]})
    assert [list(source.classes.items()) for source in located.values()] == [
        [("b", ("b",)), ("a", ("a",))]
    ] * 3
    located = sources.locate(SUBSETS | {"classes": {"vehicle": ["car", "van"]}})
    assert located["test"].classes == {"vehicle": ("car", "van")}


def test_a_source_survives_the_way_through_parameters():
    source = Source("voc", Path("a"), Path("b"), (Path("c.txt"),), Share(0, 0.5, 1, "g"))
    for one in (source, replace(source, classes={"x": ("y", "z")}, share=None)):
        assert Source.from_parameter(one.as_parameter()) == one


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: {ann-files: a.json}", "it has no val subset"),
        ("val: {ann-files: a.json}", "is missing the key 'train'"),
        ("train: {ann-files: a.json}\nvalid: {ann-files: b.json}", "unknown key 'valid'"),
        (
            "train: {data-roots: a}\nval: {ann-files: b.json}",
            "train is missing the key 'ann-files'",
        ),
        ("train: {ann-files: a, anns: b}\nval: {ann-files: b}", "train has the unknown key 'anns'"),
        ("train: {ann-files: a}\nval: b", "names is None"),
        ("train: {ann-files: a}\nval: 3", "val is 3, not a mapping"),
        ("train: {ann-files: }\nval: {ann-files: b.json}", "ann-files of train is None"),
        ("- a", "not a mapping"),
        ("{train: ", "not YAML"),
    ],
)
def test_a_faulty_data_yaml_is_refused(tmp_path, text, said):
    path = tmp_path / "data.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        sources.locate(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)


def test_faulty_values_of_data_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"data\.yaml: cannot be read"):
        sources.locate(tmp_path / "data.yaml")
    with pytest.raises(InputError, match=r"key `data`.*unknown key 'nc'"):
        sources.locate({"train": {}, "val": {}, "nc": 3})


def named(data, *made):
    """The keys and paths of a dataset if a rule makes some of the paths."""
    paths = sources.named_paths(data, set(map(Path, made)).__contains__)
    return [(path.key, path.path.as_posix()) for path in paths]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_names_the_annotations_of_each_subset(folder):
    assert named("mine") == [("data", "mine")]
    files = [f"mine/{name}/_annotations.coco.json" for name in ("train", "valid", "test")]
    assert named("mine", *files) == [("data", file) for file in files]  # that a rule will make
    write(folder, files[0], "mine/valid/", "mine/test/")
    assert named("mine") == [("data", file) for file in files]


@pytest.mark.parametrize("images", ["raw", "raw/images"])
def test_one_file_that_a_rule_makes(folder, images):
    made = {Path("raw/all.json"), Path(images)}
    data = {"source": "raw/all.json", "split": "auto"}
    before = sources.locate(data, made.__contains__)
    assert before["train"].whole == coco("raw/all.json", images)
    (named,) = sources.named_paths(data, made.__contains__)
    assert named.path in made
    write(folder, "raw/all.json", f"{images}/a.jpg")
    assert sources.locate(data, made.__contains__) == before


def test_a_mapping_names_its_files_and_folders(folder):
    data = {
        "train": {"ann-files": "train.json", "data-roots": "images"},
        "val": {"ann-files": "val.json"},
    }
    val = [("data.val.ann-files", "val.json"), ("data.val.data-roots", ".")]
    images = ("data.train.data-roots", "images")
    train = ("data.train.ann-files", "train.json")
    assert named(data) == [train, images, *val]
    assert named(data, "images") == [train, *val]
    assert named(data, "train.json") == [train, *val]  # the rule that makes it makes the images
    assert len(named(data | {"test": {"ann-files": "test.json"}})) == 6


def test_a_data_yaml_names_its_files_and_folders(folder):
    assert named("data.yaml") == [("data", "data.yaml")]
    Path("data.yaml").write_text("{train: {ann-files: a.json}, val: {ann-files: b.json}}")
    assert named("data.yaml")[0] == ("data: data.yaml: train.ann-files", "a.json")


def test_a_folder_of_another_format_names_its_annotations(folder):
    write(folder, "mine/Annotations/a.xml", "mine/JPEGImages/")
    assert named({"source": "mine", "split": "auto"}) == [("data.source", "mine/Annotations")]


def test_a_data_yaml_of_ultralytics_names_its_parts(folder):
    write(folder, "images/train/")
    Path("data.yaml").write_text("{train: images/train, val: [images/val, b.txt], names: [a]}")
    assert named("data.yaml") == [
        ("data: data.yaml: train", "images/train"),
        ("data: data.yaml: val", "images/val"),
        ("data: data.yaml: val", "b.txt"),
    ]


def test_paths_of_another_machine_in_a_data_yaml(folder):
    write(folder, "images/val/")
    Path("data.yaml").write_text("{train: /their/images/train, val: images/val, names: [a]}")
    mistakes = [path.mistake(()) for path in sources.named_paths("data.yaml", set().__contains__)]
    assert mistakes[0].startswith("data: data.yaml: train: /their/images/train does not exist, ")
    assert "count from the folder of the data.yaml" in mistakes[0]
    assert mistakes[1:] == [None]


def test_the_folder_that_is_missing_in_an_export_of_roboflow(folder):
    """Its paths start outside of the folder, and it names a test subset even if there is none."""
    write(folder, "mine/train/images/", "mine/valid/images/")
    subsets = "".join(
        f"{key}: ../{name}/images\n"
        for key, name in {"train": "train", "val": "valid", "test": "test"}.items()
    )
    Path("mine/data.yaml").write_text(f"{subsets}names: [a]\n")
    mistakes = [path.mistake(()) for path in sources.named_paths("mine", set().__contains__)]
    assert mistakes[:2] == [None, None]
    assert mistakes[2].startswith(
        "data: mine/data.yaml: test: mine/test/images does not exist, expected a folder of images "
        "or a .txt list (without one, remove this line: val serves as test); "
    )


def test_import_is_light():
    library = Path(sources.__file__).parents[2]
    code = (
        f"import sys; sys.path.insert(0, {str(library)!r}); "
        "import detmake.data.image_digests, detmake.data.sources; "
        "print(*{'PIL', 'cv2', 'numpy', 'requests', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True)
    assert done.stdout.split() == []
