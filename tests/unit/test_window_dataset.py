"""Training on tiles: validation during it measures what the finished detector does."""

import json

import numpy as np
import pytest
import tiny_training

from detmake.data import subsets, tiles
from detmake.evaluation.matching import evaluate_subset
from detmake.model.detector import SnapshotDetector
from detmake.tiling import Tiling
from detmake.training.train import train

TILING = Tiling((64, 64), 0.2, True)  # in images of 128×96


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The result of a training on tiles, and the validation subset of whole images."""
    folder = tmp_path_factory.mktemp("training")
    files = {name: tiny_training.write_subset(folder, name, 8) for name in ("train", "val")}
    coco = subsets.read(files["train"])
    for image in coco["images"]:
        image["sha256"] = "0" * 64
    cut = tiles.cut(coco, TILING, TILING.size, folder / "tiles", "tiles")
    (folder / "tiles.json").write_text(json.dumps(cut))
    recipe = tiny_training.recipe(num_iters=2)
    result = train(recipe, folder / "tiles.json", files["val"], folder / "checkpoints")
    return result, subsets.read(files["val"])


def test_the_snapshot_looks_at_tiles(trained):
    result, _ = trained
    assert Tiling.described(result.snapshot.tiling) == TILING


def test_validation_measures_merged_detections_in_whole_images(trained):
    result, coco = trained
    validated = result.scalars.query("kind == 'validation'")
    best = validated.loc[validated["f-measure"].idxmax()]
    again = evaluate_subset(SnapshotDetector(result.snapshot), coco, None)
    assert again.counts(0).ground_truths == len(coco["annotations"])
    assert best["mAP50"] == pytest.approx(again.average_precision(0.5), abs=0.01)
    threshold = again.best_confidence_threshold()
    assert best["f-measure"] == pytest.approx(again.counts(threshold).f_measure, abs=0.01)
    assert np.isfinite(best["mAP50"])
