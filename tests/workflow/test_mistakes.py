"""Bad input: a clear message on one screen, at the start, and nothing lost."""

import json

import pytest


def fails(project, *arguments) -> str:
    output = project.snakemake(*arguments, fails=True)
    assert "Traceback" not in output
    assert not (project.folder / "results/weights.pth").exists()
    return output


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"learning_parameters": {"batchsize": 8}},
            "learning_parameters.batchsize: unknown key (did you mean batch_size?)",
        ),
        ({"input_size": [100, 96]}, "input_size[0]: found 100 (integer)"),
        ({"template": "yolo"}, 'template: found "yolo" (string)'),
        ({"runs": {"pot": {}}}, "runs.pot: the build writes a file or folder of that name"),
    ],
)
def test_configuration(project, changes, message):
    project.configure(**changes)
    output = fails(project)
    assert message in output
    assert "Select jobs" not in output
    assert len(output.splitlines()) < 40


def test_missing_annotation_file(project):
    (project.folder / "data/valid/_annotations.coco.json").unlink()
    output = fails(project)
    assert "data/valid/_annotations.coco.json" in output
    assert "Select jobs" not in output


@pytest.mark.parametrize("subset", ["train", "valid", "test"])
def test_missing_image_stops_before_training(project, subset):
    (project.folder / "data" / subset / "image 3.png").unlink()
    output = fails(project)
    assert f"image files missing in data/{subset}: image 3.png" in output
    assert "Training" not in output


def test_annotation_of_an_unknown_category(project):
    path = project.folder / "data/test/_annotations.coco.json"
    coco = json.loads(path.read_text())
    coco["annotations"][0]["category_id"] = 7
    path.write_text(json.dumps(coco))
    output = fails(project)
    assert "data/test/_annotations.coco.json" in output
    assert "category_id: 7" in output
    assert "Training" not in output


def test_a_data_yaml_with_the_outer_level(project):
    subsets = {
        name: {
            "ann-files": str(project.folder / f"data/{folder}/_annotations.coco.json"),
            "data-roots": str(project.folder / f"data/{folder}"),
        }
        for name, folder in {"train": "train", "val": "valid", "test": "valid"}.items()
    }
    (project.folder / "data.yaml").write_text(str({"data": subsets}))
    project.configure(data="data.yaml")
    output = project.snakemake("results/dataset/test.json")
    assert "names no test subset: val serves" in output
    assert len(project.json("results/dataset/test.json")["images"]) == 6


def test_results_survive_a_mistake(built):
    built.configure(learning_parameters={"learning_rate": "fast"})
    output = built.snakemake(fails=True)
    assert 'learning_parameters.learning_rate: found "fast" (string)' in output
    assert (built.folder / "results/weights.pth").exists()
