"""A run with tiles beside one without: what is cut, what the models do, and what runs again."""

import shutil

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.slow

# Tiles of 100×75 pixels in images of 160×120.
TILING = {"size": 100, "overlap": 0.2, "whole_image": True}
RESOLVED = {"size": [100, 75], "overlap": 0.2, "whole_image": True}
RUN = "results/tiles"
FOLDERS = (RUN, f"{RUN}/openvino", f"{RUN}/pot")


def configure(project, tiling) -> None:
    """Let a run look at tiles with the snapshot of the base run, which was trained without."""
    project.configure(runs={"tiles": {"tiling": tiling, "weights": "results/weights.pth"}})


@pytest.fixture(scope="module")
def tiled(built_project, tmp_path_factory):
    """A project with such a run, compared with the base run. Not to be changed."""
    project = built_project.copy(tmp_path_factory.mktemp("tiles") / "project")
    configure(project, TILING)
    project.measure_briefly()
    project.snakemake("results/comparison.md")
    return project


def test_tiles_are_prepared_beside_the_train_subset(tiled):
    whole, tiles = (tiled.json(f"{RUN}/dataset/{name}.json") for name in ("train", "tiles"))
    assert tiles["info"]["tiling"] == RESOLVED
    assert "tiling" not in whole["info"]
    sizes = {(image["width"], image["height"]) for image in tiles["images"]}
    assert sizes == {(100, 75), (160, 120)}
    written = {image["file_name"] for image in tiles["images"] if image["width"] == 100}
    on_disk = {path.name for path in (tiled.folder / RUN / "dataset/tiles").glob("*.png")}
    assert tiles["info"]["tiles"] == "tiles"
    assert written == on_disk


def test_all_models_cut_images_and_say_so(tiled):
    for folder in FOLDERS[1:]:
        assert tiled.json(f"{folder}/config.json")["tiling"] == RESOLVED
    assert "tiling" not in tiled.json("results/openvino/config.json")
    performances = [tiled.json(f"{folder}/performance.json") for folder in FOLDERS]
    assert [performance["tiling"] for performance in performances] == [RESOLVED] * 3
    # Merged detections in whole images are what is measured.
    subset = tiled.json(f"{RUN}/dataset/test.json")
    assert performances[0]["images"] == len(subset["images"])
    assert performances[0]["ground_truths"] == len(subset["annotations"])
    assert performances[0]["f-measure"] > 0.3
    assert performances[1]["f-measure"] == pytest.approx(performances[0]["f-measure"], abs=0.1)
    assert (
        "It was trained with the tiling None" in (tiled.folder / RUN / "logs/adopt.log").read_text()
    )


def test_the_comparison_shows_the_run_with_tiles_and_the_one_without(tiled):
    lines = (tiled.folder / "results/comparison.md").read_text().splitlines()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:8])
    ]
    assert [row[3] for row in rows] == ["tiles", *[""] * 3, *["100×75"] * 3]


def test_a_changed_image_or_key_cuts_again_and_no_tiling_cuts_nothing(tiled, tmp_path):
    project = tiled.copy(tmp_path / "project")
    weights = f"{RUN}/weights.pth"
    assert project.stale(weights) == {}
    configure(project, TILING | {"overlap": 0.3})
    assert project.stale(weights) == {"cut_tiles": 1, "adopt_weights": 1}
    configure(project, None)
    assert project.stale(weights) == {"adopt_weights": 1}
    configure(project, TILING)
    assert project.stale(weights) == {}
    file = project.folder / "data/train/image 0.png"
    cv2.imwrite(str(file), np.flipud(cv2.imread(str(file))))
    assert {"prepare_dataset", "cut_tiles", "adopt_weights"} <= set(project.stale(weights))


def test_a_copy_of_the_results_has_tiles_of_its_own(tiled, tmp_path):
    project = tiled.copy(tmp_path / "project")
    shutil.copytree(project.folder / "results", project.folder / "copied")
    runs = {"tiles": {"tiling": TILING, "weights": "copied/weights.pth"}}
    project.configure(results="copied", runs=runs)
    assert project.stale("copied/tiles/weights.pth", "copied/tiles/pot/openvino.xml") == {}
    shutil.rmtree(project.folder / "results")
    project.configure(results="copied", runs={"tiles": {"tiling": TILING}})
    project.snakemake("copied/tiles/dataset/batch.jpg")
    shutil.rmtree(project.folder / "copied/tiles/dataset/tiles")
    assert "cut_tiles" in project.stale("copied/tiles/weights.pth")
