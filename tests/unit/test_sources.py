"""Where the files of a dataset are."""

import subprocess
import sys
from pathlib import Path

import pytest

from detmake.data import sources
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


def test_locate_accepts_the_tutorials_data_yaml(tmp_path):
    (tmp_path / "data.yaml").write_text(TUTORIAL_DATA_YAML)
    otx = Path("/home/<username>/training_extensions")
    valid = otx / "datasets/BCCD/valid"
    assert sources.locate(tmp_path / "data.yaml") == {
        "train": (otx / "BCCD/train/_annotations.coco.json", otx / "datasets/BCCD/train"),
        "val": (valid / "_annotations.coco.json", valid),
        "test": (valid / "_annotations.coco.json", valid),
    }


def test_paths_in_a_data_yaml_are_relative_to_it(tmp_path):
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets/data.yaml").write_text(
        "train: {ann-files: a/train.json, data-roots: ../images}\nval: {ann-files: b/val.json}\n"
    )
    located = sources.locate(tmp_path / "sets/data.yaml")
    assert located["train"] == (tmp_path / "sets/a/train.json", tmp_path / "sets/../images")
    assert located["val"] == (tmp_path / "sets/b/val.json", tmp_path / "sets/b")


def test_val_replaces_a_missing_test_subset():
    data = {
        "train": {"ann-files": "train.json", "data-roots": "/images"},
        "val": {"ann-files": "val/val.json"},
    }
    located = sources.locate(data)
    assert located["train"] == (Path("train.json"), Path("/images"))
    assert located["test"] == located["val"] == (Path("val/val.json"), Path("val"))
    assert list(located) == ["train", "val", "test"]


@pytest.mark.parametrize(
    ("existing", "folders"),
    [
        ([], ("train", "valid", "test")),  # made later, by a rule of the build
        (["train"], ("train", "valid", "test")),  # being made
        (["train/_annotations.coco.json", "valid", "test"], ("train", "valid", "test")),
        (["train/_annotations.coco.json", "val", "test"], ("train", "val", "test")),
        (["train/_annotations.coco.json", "val", "valid", "test"], ("train", "valid", "test")),
        (["train/_annotations.coco.json", "val"], ("train", "val", "val")),
        (["train/_annotations.coco.json", "valid"], ("train", "valid", "valid")),
    ],
)
def test_locate_accepts_a_folder_in_the_tutorials_layout(tmp_path, existing, folders):
    for name in existing:
        path = tmp_path / "BCCD" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch() if path.suffix else path.mkdir()
    located = sources.locate(str(tmp_path / "BCCD"))
    expected = [tmp_path / "BCCD" / folder for folder in folders]
    assert [root for _, root in located.values()] == expected
    assert [file for file, _ in located.values()] == [
        folder / "_annotations.coco.json" for folder in expected
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: {ann-files: a.json}", "is missing the key 'val'"),
        ("train: {ann-files: a.json}\nvalid: {ann-files: b.json}", "unknown key 'valid'"),
        (
            "train: {data-roots: a}\nval: {ann-files: b.json}",
            "train is missing the key 'ann-files'",
        ),
        ("train: {ann-files: a, anns: b}\nval: {ann-files: b}", "train has the unknown key 'anns'"),
        ("train: ../train/images\nval: ../valid/images\nnc: 3", "unknown key 'nc'"),
        ("train: ../train/images\nval: ../valid/images", "train is '../train/images'"),
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
    (tmp_path / "coco.json").write_text('{"images": []}')
    with pytest.raises(InputError, match=r"coco\.json: its content has the unknown key 'images'"):
        sources.locate(tmp_path / "coco.json")


@pytest.mark.parametrize("key", ["nc: 1, ", ""])
def test_a_data_yaml_of_ultralytics_is_told_apart(tmp_path, key):
    (tmp_path / "data.yaml").write_text(f"{{path: ., train: a, val: b, {key}names: [c]}}")
    with pytest.raises(InputError, match=r"data\.yaml: this is a data\.yaml of Ultralytics"):
        sources.locate(tmp_path / "data.yaml")


def named(data, *made):
    """The keys and paths of a dataset if a rule makes some of the paths."""
    paths = sources.named_paths(data, set(map(Path, made)).__contains__)
    return [(path.key, path.path.as_posix()) for path in paths]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_folder_names_the_annotations_of_each_subset(folder):
    assert named("mine") == [("data", "mine")]
    Path("mine").mkdir()
    files = [f"mine/{name}/_annotations.coco.json" for name in ("train", "valid", "test")]
    assert named("mine") == [("data", file) for file in files]
    Path("mine").rmdir()
    assert named("mine", *files) == [("data", file) for file in files]  # that a rule will make


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


def test_import_is_light():
    library = Path(sources.__file__).parents[2]
    code = (
        f"import sys; sys.path.insert(0, {str(library)!r}); "
        "import detmake.data.image_digests, detmake.data.sources; "
        "print(*{'PIL', 'cv2', 'numpy', 'requests', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True)
    assert done.stdout.split() == []
