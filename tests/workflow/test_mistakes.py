"""Bad input: a clear message on one screen, at the start, and nothing lost."""

import hashlib
import json
import shutil

import pytest
from conftest import CONFIG, ROOT

from detmake.build import configuration


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


def test_a_repeated_key(project):
    with (project.folder / "config.yaml").open("a") as file:
        file.write("\ninput_size: [128, 96]\ninput_size: [96, 96]\n")
    assert "found the key input_size in lines" in fails(project)


YTE = "__use_yte__: true\nminutes: ?__import__('pathlib').Path('ran').touch()\n"


@pytest.mark.parametrize(
    "text, message",
    [
        ("minutes: 2024-02-29", 'minutes: found "2024-02-29" (date), expected a finite number'),
        ("minutes: 2024-13-45", "config/config.yaml: cannot be read as YAML: found a value that"),
        (YTE, "config/config.yaml: found __use_yte__"),
    ],
)
def test_the_default_configuration_file(project, text, message):
    """It is checked before Snakemake reads it."""
    (project.folder / "config/config.yaml").write_text(text)
    project.options = lambda arguments: [*project.executor, *arguments]  # without --configfile
    assert message in fails(project)
    assert not (project.folder / "ran").exists()


def test_a_clone_in_a_folder_with_braces(template_project, tmp_path):
    output = template_project.copy(tmp_path / "a{run}").snakemake("--dry-run", fails=True)
    assert "Move the clone to a folder without braces." in output
    assert "Traceback" not in output


def test_missing_annotation_file(project):
    (project.folder / "data/valid/_annotations.coco.json").unlink()
    output = fails(project)
    assert "data: data/valid/_annotations.coco.json does not exist" in output
    assert "data/valid holds image 0.png, image 1.png" in output
    assert "Select jobs" not in output


def subset(folder, file="_annotations.coco.json", **keys):
    return {"ann-files": f"data/{folder}/{file}", **keys}


WRONG_PATHS = {
    "a wildcard": (
        {"weights": "{run}/weights.pth"},
        "weights: found {run}/weights.pth, in which Snakemake would take {run} for a wildcard",
    ),
    "a path variable": (
        {"weights": "<results>/weights.pth"},
        "weights: found <results>/weights.pth, in which Snakemake would take <results> for a path ",
    ),
    "a folder": ({"data": "dota"}, "data: dota does not exist (did you mean data?)"),
    "a data.yaml": ({"data": "data.yaml"}, "data: data.yaml does not exist"),
    "an annotation file": (
        {"data": {"train": subset("train", "annotations.coco.json"), "val": subset("valid")}},
        "data.train.ann-files: data/train/annotations.coco.json does not exist "
        "(did you mean data/train/_annotations.coco.json?)",
    ),
    "an image folder": (
        {"data": {"train": subset("train"), "val": subset("valid", **{"data-roots": "data/vali"})}},
        "data.val.data-roots: data/vali does not exist (did you mean data/valid?)",
    ),
    "pretrained weights": ({"pretrained": "own.pth"}, "pretrained: own.pth does not exist"),
    "a loop of links": ({"pretrained": "loop.pth"}, "pretrained: loop.pth does not exist"),
    "weights of a run": (
        {"runs": {"other": {"weights": "weights.pth"}}},
        "runs.other.weights: weights.pth does not exist",
    ),
}


@pytest.mark.parametrize("changes, message", WRONG_PATHS.values(), ids=WRONG_PATHS.keys())
def test_a_wrong_path_stops_a_finished_build(built, changes, message):
    """Snakemake itself ignores a missing input of a rule whose output exists."""
    (built.folder / "loop.pth").symlink_to("loop.pth")
    built.configure(**changes)
    output = built.snakemake("--dry-run", fails=True)
    assert message in output
    assert f"Relative paths count from {built.folder}" in output
    assert "Traceback" not in output


def test_a_wrong_path_beside_another_change_trains_nothing(built):
    weights = (built.folder / "results/weights.pth").read_bytes()
    change = "learning_parameters={learning_rate: 0.5}"
    output = built.snakemake("--config", "data=resources/celz", change, fails=True)
    assert "data: resources/celz does not exist (did you mean resources/cells?)" in output
    assert (built.folder / "results/weights.pth").read_bytes() == weights


def test_a_source_that_a_demo_cannot_show(built):
    command = ["results/demo", "--config", "demo={source: nowhere.jpg}"]
    output = built.snakemake(*command, fails=True)
    assert "demo.source: nowhere.jpg: expected an image, a video" in output
    assert "Traceback" not in output
    recorded = built.folder / "results/demo/video.mp4"
    recorded.parent.mkdir()
    recorded.write_bytes(b"the only copy")
    command = ["results/demo", "--config", "demo={source: results/demo/video.mp4}"]
    output = built.snakemake(*command, fails=True)
    assert "the demo replaces the folder results/demo; copy it elsewhere" in output
    assert recorded.read_bytes() == b"the only copy"


def test_a_folder_without_annotations(project):
    (project.folder / "photos").mkdir()
    (project.folder / "photos/labels.csv").touch()
    project.configure(data="photos")
    output = project.snakemake("--dry-run", fails=True)
    assert "data: photos: found no annotations that detmake can read. It looked for" in output
    assert "The folder holds labels.csv." in output
    assert "Traceback" not in output


def test_one_set_of_images_without_a_split(project):
    project.configure(data="data/train")
    output = project.snakemake("--dry-run", fails=True)
    assert "data: data/train: it has no val subset" in output
    assert "`data: {source: …, split: auto}`" in output


def test_weights_that_the_run_itself_makes(built):
    """The build would delete them before it reads them, whatever the name."""
    results = built.folder / "results"
    names = {
        "plain": "results/plain/weights.pth",
        "dotted": "./results/dotted/weights.pth",
        "absolute": str(results / "absolute/weights.pth"),
        "symbolic": "symbolic.pth",
        "hard": "hard.pth",
    }
    for run in names:
        (results / run).mkdir()
        (results / run / "weights.pth").write_bytes(b"the only copy")
    (built.folder / "symbolic.pth").symlink_to(results / "symbolic/weights.pth")
    (built.folder / "hard.pth").hardlink_to(results / "hard/weights.pth")
    (built.folder / "alias.pth").symlink_to(results / "weights.pth")
    runs = {run: {"weights": name} for run, name in names.items()}
    checkpoint = results / "checkpoints/epoch_37.pth"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    runs["going_on"] = {"pretrained": "results/checkpoints/epoch_37.pth"}
    built.configure(runs={**runs, "other": {"pretrained": "alias.pth"}})
    output = built.snakemake(*[f"results/{run}/weights.pth" for run in runs], fails=True)
    for run in names:
        assert f"runs.{run}.weights: found " in output
        assert f"makes this file (results/{run}/weights.pth) and deletes it first" in output
        assert (results / run / "weights.pth").read_bytes() == b"the only copy"
    removed = "but the build removes files in results/checkpoints"
    named = "runs.going_on.pretrained: found results/checkpoints/epoch_37.pth"
    assert f"{named}, {removed}" in output
    assert checkpoint.exists()
    found = "runs.other.pretrained: found alias.pth, but the build makes this file"
    assert f"{found} (results/weights.pth)" in output


def test_weights_that_another_run_makes(built):
    built.configure(runs={"again": {"weights": "./results/weights.pth"}})
    adopted = {"prepare_dataset": 3, "adopt_weights": 1}
    assert built.stale("results/again/weights.pth") == adopted
    built.configure(runs={"again": {"weights": "results/weights.pth"}}, input_size=[160, 128])
    assert built.stale("results/again/weights.pth") == adopted | {"train": 1}
    # A trial that starts from it could not be built without the search.
    search = {"space": {"pretrained": ["results/weights.pth"]}, "rungs": [1]}
    built.configure(search=search)
    found = "pretrained: found results/weights.pth, but the build makes this file"
    assert found in built.snakemake("search", fails=True)


@pytest.mark.parametrize("subset", ["train", "valid", "test"])
def test_missing_image_stops_before_training(project, subset):
    (project.folder / "data" / subset / "image 3.png").unlink()
    output = fails(project)
    assert f"image files missing in data/{subset}: 1 (image 3.png)" in output
    assert "Training" not in output


def test_annotation_of_an_unknown_category(project):
    path = project.folder / "data/test/_annotations.coco.json"
    coco = json.loads(path.read_text())
    coco["annotations"][0]["category_id"] = 7
    path.write_text(json.dumps(coco))
    output = fails(project)
    assert "data/test/_annotations.coco.json" in output
    assert "by category_id: 1 (7)" in output
    assert "Training" not in output


def test_a_data_yaml_with_the_outer_level_whose_subsets_are_one(project):
    subsets = {
        name: {
            "ann-files": str(project.folder / f"data/{folder}/_annotations.coco.json"),
            "data-roots": str(project.folder / f"data/{folder}"),
        }
        for name, folder in {"train": "valid", "val": "valid", "test": "valid"}.items()
    }
    (project.folder / "data.yaml").write_text(str({"data": subsets}))
    project.configure(data="data.yaml")
    output = fails(project, "results/dataset/test.json")
    assert "images, all of the test subset, that the train subset has, too (leaks): 6 (" in output
    assert "set data.on_leak: warn" in output
    project.configure(data={"source": "data.yaml", "on_leak": "warn"})
    output = project.snakemake("results/dataset/test.json")
    assert "names no test subset: val serves" in output
    assert len(project.json("results/dataset/test.json")["images"]) == 6


RUNS = {"slow": {"evaluation": {"subset": "val"}}}


def began_with(name, value):
    """The variable by which a build tells its jobs how it began."""
    digest = hashlib.sha256(f"results/{name}".encode()).hexdigest()[:16]
    return {f"DETMAKE_{digest}": json.dumps(value)}


@pytest.fixture
def job(project):
    """Plan a job on a cluster, of a build that began with other settings or another command line.

    A job reads its configuration when it starts.
    """

    def plan(target, changes, line=(), fails=False, **began):
        schema, templates = ROOT / "rules/schema.yaml", ROOT / "templates"
        config = CONFIG | {"runs": RUNS} | began
        for run, settings in configuration.resolve(config, {}, schema, templates).items():
            project.environment |= began_with(f"settings of {run}", configuration.digests(settings))
        project.environment |= began_with("runs", ["", *config["runs"]])
        project.configure(**{"runs": RUNS} | changes)
        options = ["--dry-run", "--mode", "subprocess", target, *line]
        output = project.snakemake(*options, fails=fails)
        assert "Traceback" not in output
        return output

    return plan


def test_a_job_refuses_settings_that_were_edited_meanwhile(job):
    said = "The configuration was edited after this build began"
    learning = CONFIG["learning_parameters"]
    edits = {"learning_parameters": learning | {"seed": 7}}
    output = job("results/weights.pth", edits, fails=True)
    assert said in output
    assert "other settings for learning_parameters." in output
    # A job of no run reads the settings of all.
    assert said in job("resources/cells/train/images.sha256", edits, fails=True)
    edits = {"runs": {"slow": {"evaluation": {"subset": "test"}}}}
    output = job("results/slow/performance.json", edits, fails=True)
    assert "other settings for runs.slow.evaluation." in output
    assert "other settings for demo." in job("results/demo", {"demo": {"seconds": 5}}, fails=True)
    for runs, other in ((RUNS | {"new": {}}, "new"), ({}, "slow")):
        output = job("resources/cells/train/images.sha256", {"runs": runs}, fails=True)
        assert f"other runs ({other} was added or removed)" in output


def test_a_job_shows_the_models_that_the_build_began_with(built):
    """The int8 model of quantization-aware training may come in the meantime."""
    shutil.copytree(built.folder / "results/pot", built.folder / "results/nncf")
    options = ["--dry-run", "--mode", "remote", "results/comparison.md"]
    assert "quantize_nncf" in built.snakemake(*options)
    built.environment |= began_with("runs with all models", [])
    assert "nncf" not in built.snakemake(*options)


def test_a_job_runs_after_an_edit_that_does_not_concern_it(job):
    learning = CONFIG["learning_parameters"]
    edits = {
        "learning_parameters": learning | {"num_workers": 2},
        "resources": {"partition": "long"},
        "store": {"limit_gb": 1},
        "demo": {"seconds": 5},
        "plan": ["benchmark"],
        "device": "cpu",
        "runs": {"slow": {"evaluation": {"subset": "test"}}, "new": {}},
    }
    job("results/weights.pth", edits)


def test_a_job_takes_the_command_line_as_it_was_given(project, job):
    """Snakemake doubles its backslashes."""
    data = {"source": "data/train", "split": "auto", "group": r"image (\d)"}
    project.environment = {"DETMAKE_COMMAND_LINE": json.dumps({"data": data})}
    doubled = r"data={source: data/train, split: auto, group: 'image (\\d)'}"
    job("results/weights.pth", {}, ["--config", doubled], data=data)
    del project.environment["DETMAKE_COMMAND_LINE"]
    output = job("results/weights.pth", {}, ["--config", doubled], fails=True, data=data)
    assert "other settings for data." in output


def test_results_survive_a_mistake(built):
    built.configure(learning_parameters={"learning_rate": "fast"})
    output = built.snakemake(fails=True)
    assert 'learning_parameters.learning_rate: found "fast" (string)' in output
    assert (built.folder / "results/weights.pth").exists()
