"""What makes which rules run again, as real dry runs say; test_staleness_table.py has each key."""

import ast
import json
import os
import shutil
from importlib.metadata import version

import cv2
import pytest

EVALUATE = {"evaluate_snapshot": 1, "evaluate_ir": 2}
POT = {"quantize_pot": 1, "evaluate_ir": 1}
EXPORT = {"export": 1, "quantize_pot": 1, "evaluate_ir": 2}
TRAIN = {"train": 1, "evaluate_snapshot": 1, **EXPORT}
PREPARE = {"prepare_dataset": 3, **TRAIN}
PREPARE_TEST = {"prepare_dataset": 1, **EVALUATE}
PREPARE_VAL = {"prepare_dataset": 2, **TRAIN}  # test is compared with val


def test_nothing_changed(built):
    assert built.stale() == {}


def test_no_test_subset(built):
    data = {
        "train": {"ann-files": "data/train/_annotations.coco.json"},
        "val": {"ann-files": "data/valid/_annotations.coco.json"},
    }
    built.configure(data=data)
    assert built.stale() == PREPARE_TEST


def test_a_key_on_the_command_line(built):
    assert built.stale("--config", "learning_parameters={batch_size: 8}") == TRAIN
    assert built.stale("--config", "pot_parameters={preset: mixed}") == POT


def test_more_cores(built):
    assert built.stale("--cores", "1") == {}


def test_the_template(built):
    template = built.folder / "templates/atss_mobilenetv2.yaml"
    text = template.read_text()
    template.write_text("# A comment.\n" + text)
    assert built.stale() == {}
    template.write_text(text.replace("name: ATSS-MobileNetV2", "name: Mine"))
    assert built.stale() == {}
    template.write_text(text.replace("feat_channels: 64", "feat_channels: 32"))
    assert built.stale() == TRAIN


def change(path):
    image = cv2.imread(str(path))
    image[:8] = 0
    cv2.imwrite(str(path), image)


IMAGES = {
    "changed": change,
    "removed": os.remove,
    "renamed": lambda path: path.rename(path.with_name("other.png")),
}


@pytest.mark.parametrize(
    "subset, expected",
    [("train", PREPARE), ("valid", PREPARE_VAL), ("test", PREPARE_TEST)],
)
@pytest.mark.parametrize("alter", IMAGES.values(), ids=IMAGES.keys())
def test_an_image(built, alter, subset, expected):
    alter(built.folder / "data" / subset / "image 1.png")
    assert built.stale() == expected


def test_an_image_that_no_annotation_file_lists(built):
    for image in (built.folder / "data").glob("*/image 1.png"):
        shutil.copy(image, image.with_name("one more.png"))
    assert built.stale() == {}


def test_images_of_several_subsets_in_one_folder(project):
    """The root of the project, where results and other pictures are as well."""
    keys = {"train": "train", "val": "valid", "test": "test"}
    for subset in keys.values():
        coco = project.json(f"data/{subset}/_annotations.coco.json")
        for image in coco["images"]:
            image["file_name"] = f"data/{subset}/{image['file_name']}"
        (project.folder / f"{subset}.json").write_text(json.dumps(coco))
    project.configure(data={key: {"ann-files": f"{name}.json"} for key, name in keys.items()})
    prepared = [f"results/dataset/{key}.json" for key in keys]
    project.snakemake(*prepared)
    shutil.copy(project.folder / "data/train/image 1.png", project.folder / "results/seen.png")
    assert project.stale(*prepared) == {}
    change(project.folder / "data/test/image 1.png")
    assert project.stale(*prepared) == {"prepare_dataset": 1}


def move_older(data):
    file = data / "test/_annotations.coco.json"
    older = file.with_name("older.json")
    older.write_text(file.read_text().replace("[5, ", "[6, "))
    os.utime(older, ns=(0, 0))
    older.rename(file)


def point_to_older(data):
    older = data.with_name("older")
    shutil.copytree(data, older)
    move_older(older)
    data.rename(data.with_name("newer"))
    data.symlink_to("older")


@pytest.mark.parametrize("replace", [move_older, point_to_older])
def test_annotations_replaced_by_older_ones(built, replace):
    replace(built.folder / "data")
    assert built.stale() == PREPARE_TEST


def test_what_is_touched_but_the_same(built):
    for path in (built.folder / "data").rglob("*.*"):
        os.utime(path)
    assert built.stale() == {}


@pytest.mark.slow
def test_a_large_annotation_file_that_is_touched(built):
    path = built.folder / "data/test/_annotations.coco.json"
    path.write_text(path.read_text() + " " * 3_000_000)
    assert built.stale() == PREPARE_TEST
    built.snakemake()
    os.utime(path)
    assert built.stale() == {}


def test_a_changed_annotation_file(built):
    for subset, expected in (("test", PREPARE_TEST), ("train", PREPARE)):
        path = built.folder / "data" / subset / "_annotations.coco.json"
        path.write_text(path.read_text().replace("[5, ", "[6, "))
        assert built.stale() == expected


def test_code_that_says_the_same(built):
    """Comments, docstrings, formatting and times of the sources are no reason to run anything."""
    for path in (built.folder / "scripts").rglob("*.py"):
        tree = ast.parse(path.read_text())
        if ast.get_docstring(tree):
            del tree.body[0]
        path.write_text(f'"""Another docstring."""\n# A comment.\n{ast.unparse(tree)}\n')
    assert built.stale() == {}


# Of a version that is not installed; torch's is, but of another build.
VERSIONS = {
    "numpy": ("0.1", PREPARE),
    "pillow": ("0.1", PREPARE),
    "torch": ("0.1", TRAIN),
    "torch for another device": (f"{version('torch').partition('+')[0]}+cu999", {}),
    "onedl-mmdetection": ("0.1", TRAIN),
    "openvino": ("0.1", EXPORT),
    "nncf": ("0.1", POT),
    "pandas": ("0.1", {}),
    "tqdm": ("0.1", {}),
}


@pytest.mark.parametrize("package", VERSIONS)
def test_another_version_of_a_package(built, tmp_path, package):
    found, expected = VERSIONS[package]
    name = package.split()[0]
    information = tmp_path / f"{name.replace('-', '_')}-{found}.dist-info"
    information.mkdir()
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {found}\n"
    (information / "METADATA").write_text(text)
    built.environment = {"PYTHONPATH": str(tmp_path)}
    assert built.stale() == expected


@pytest.mark.slow
def test_cells_that_are_drawn_again(project):
    """Preparation, and what follows, runs again if the images differ, not if they are the same."""
    cells = project.folder / "scripts/detmake/data/cells.py"

    def edit(old, new):
        text = cells.read_text()
        assert text.count(old) == 1
        cells.write_text(text.replace(old, new))

    edit('"train": 160', '"train": 2')
    project.configure(data="resources/cells")
    drawn, prepared = (
        "resources/cells/train/_annotations.coco.json",
        "results/dataset/train.json",
    )
    project.snakemake(prepared)
    annotations = (project.folder / drawn).read_bytes()
    edit("WIDTH, HEIGHT = 320, 240", "HEIGHT, WIDTH = 240, 320")
    assert "Finished jobid" in project.snakemake(drawn)
    assert project.stale(prepared) == {}
    edit("rng.uniform(1.5, 4.5)", "rng.uniform(2.5, 4.5)")
    project.snakemake(drawn)
    assert (project.folder / drawn).read_bytes() == annotations
    assert project.stale(prepared) == {"prepare_dataset": 1}


def test_an_edited_environment(built):
    """It counts where conda makes the environments, which test_conda.py tries."""
    for path in (built.folder / "envs").iterdir():
        path.write_text(path.read_text() + "\n# edited\n")
    assert built.stale() == {}


OUTPUTS = {
    "weights.pth": TRAIN,
    "openvino/openvino.bin": EXPORT,
    "pot/openvino.xml": POT,
    "pot/performance.json": {"evaluate_ir": 1},
}


@pytest.mark.parametrize("file, expected", OUTPUTS.items(), ids=OUTPUTS.keys())
def test_a_removed_output(built, file, expected):
    (built.folder / "results" / file).unlink()
    assert built.stale() == expected


def test_a_rebuilt_evaluation_follows_the_threshold(built):
    """A higher threshold finds less, and is measured without training or exporting anything."""
    weights = (built.folder / "results/weights.pth").stat().st_mtime_ns
    performance = {}
    for threshold in (0.05, 0.15):
        built.configure(
            postprocessing={
                "confidence_threshold": threshold,
                "result_based_confidence_threshold": False,
            }
        )
        built.snakemake("results/openvino/performance.json")
        performance[threshold] = built.json("results/openvino/performance.json")
        assert performance[threshold]["confidence_threshold"] == threshold
    low, high = performance[0.05], performance[0.15]
    assert high["detections"] < low["detections"]
    assert high["recall"] <= low["recall"]
    assert high["precision"] >= low["precision"]
    assert (built.folder / "results/weights.pth").stat().st_mtime_ns == weights
