"""A build with tiles: what is cut, what the models do with it, and what runs again."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import CONFIG

pytestmark = pytest.mark.slow

# Tiles of 100×75 pixels in images of 160×120.
TILING = {"size": 100, "overlap": 0.2, "whole_image": True}
RESOLVED = {"size": [100, 75], "overlap": 0.2, "whole_image": True}
# Fewer epochs, since an epoch of tiles is longer.
LEARNING = CONFIG["learning_parameters"] | {"batch_size": 8, "num_iters": 8}
FOLDERS = ("results", "results/openvino", "results/pot")


@pytest.fixture(scope="module")
def tiled(template_project, tmp_path_factory):
    """A project that is built with tiles. Not to be changed."""
    project = template_project.copy(tmp_path_factory.mktemp("tiles") / "project")
    project.measure_briefly()
    project.configure(tiling=TILING, learning_parameters=LEARNING)
    project.snakemake("all", "results/comparison.md")
    return project


def test_tiles_are_prepared_beside_the_train_subset(tiled):
    whole, tiles = (tiled.json(f"results/dataset/{name}.json") for name in ("train", "tiles"))
    assert tiles["info"]["tiling"] == RESOLVED
    assert "tiling" not in whole["info"]
    sizes = {(image["width"], image["height"]) for image in tiles["images"]}
    assert sizes == {(100, 75), (160, 120)}
    written = {Path(image["file_name"]) for image in tiles["images"] if image["width"] == 100}
    assert {Path("results/dataset/tiles", path.name) for path in written} == written
    on_disk = {path.name for path in (tiled.folder / "results/dataset/tiles").glob("*.png")}
    assert on_disk == {path.name for path in written}


def test_all_models_cut_images_and_say_so(tiled):
    for folder in FOLDERS[1:]:
        assert tiled.json(f"{folder}/config.json")["tiling"] == RESOLVED
    performances = [tiled.json(f"{folder}/performance.json") for folder in FOLDERS]
    assert [performance["tiling"] for performance in performances] == [RESOLVED] * 3
    # The merged detections of whole images are what is measured.
    subset = tiled.json("results/dataset/test.json")
    assert performances[0]["images"] == len(subset["images"])
    assert performances[0]["ground_truths"] == len(subset["annotations"])
    assert performances[0]["f-measure"] > 0.3
    assert performances[1]["f-measure"] == pytest.approx(performances[0]["f-measure"], abs=0.05)
    lines = (tiled.folder / "results/comparison.md").read_text().splitlines()
    assert "tiles" in lines[0]
    assert all("100×75" in line for line in lines[2:5])


def test_training_validates_what_the_finished_detector_does(tiled):
    log = (tiled.folder / "results/logs/train.log").read_text()
    scalars = (tiled.folder / "results/logs/scalars.csv").read_text().splitlines()
    measured = float(log.split("F-measure on the validation subset: ")[1].split()[0])
    column = scalars[0].split(",").index("f-measure")
    validated = [float(row.split(",")[column] or 0) for row in scalars[1:]]
    assert max(validated) == pytest.approx(measured, abs=0.01)


def test_a_changed_image_or_key_cuts_again_and_no_tiling_cuts_nothing(tiled, tmp_path):
    project = tiled.copy(tmp_path / "project")
    assert project.stale("all") == {}
    project.configure(tiling=TILING | {"overlap": 0.3}, learning_parameters=LEARNING)
    assert project.stale("results/weights.pth") == {"cut_tiles": 1, "train": 1}
    project.configure(learning_parameters=LEARNING)
    assert project.stale("results/weights.pth") == {"train": 1}
    project.configure(tiling=TILING, learning_parameters=LEARNING)
    assert project.stale("results/weights.pth") == {}
    file = project.folder / "data/train/image 0.png"
    image = cv2.imread(str(file))
    cv2.imwrite(str(file), np.flipud(image))
    assert {"prepare_dataset", "cut_tiles", "train"} <= set(project.stale("results/weights.pth"))


def test_a_finished_snapshot_may_be_given_tiles(tiled, tmp_path):
    """Another run takes its weights, and looks at whole images."""
    project = tiled.copy(tmp_path / "project")
    run = {"tiling": None, "weights": "results/weights.pth"}
    project.configure(tiling=TILING, learning_parameters=LEARNING, runs={"whole": run})
    project.snakemake("results/whole/openvino/config.json")
    assert "tiling" not in project.json("results/whole/openvino/config.json")
    log = (project.folder / "results/whole/logs/adopt.log").read_text()
    assert "It was trained with the tiling" in log
