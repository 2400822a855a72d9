"""Post-training quantization keeps the F-measure where NNCF's defaults lose it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import nncf
import numpy as np
import openvino as ov
import pytest
from openvino import opset9 as opset

from detmake.errors import InputError
from detmake.evaluation.matching import evaluate_subset
from detmake.quantization import layers, post_training, recipes
from detmake.runtime import inference
from detmake.runtime.figures import cpu
from detmake.runtime.images import read_image
from detmake.runtime.model_folder import write_model_folder

GRID = 4  # cells in a row of an image
CELL = 8  # pixels
DESCRIPTION = {
    "template": {"name": "cells"},
    "labels": ["class 0"],
    "input_size": [GRID * CELL, GRID * CELL],
    "confidence_threshold": 0.5,
    "iou_threshold": 0.5,
}


@dataclass(frozen=True)
class Case:
    """A network that scores each cell of an image by its mean colour, and images for it.

    Attributes:
        layers: (C, D + 1) weights of each layer, and its bias; the first reads the mean blue, green
            and red in [0, 1], and the last gives the logits of the classes.
        calibration, validation: colours (BGR) that cells are drawn in, one list for each image.
        objects: for each colour that is an object, its class.
    """

    layers: Sequence[Sequence[Sequence[float]]]
    calibration: Sequence[Sequence[tuple[int, int, int]]]
    validation: Sequence[Sequence[tuple[int, int, int]]]
    objects: dict[tuple[int, int, int], int]

    def model(self) -> ov.Model:
        image = opset.parameter([1, -1, -1, 3], ov.Type.u8, name="image")
        value = opset.transpose(opset.convert(image, "f32"), np.int64([0, 3, 1, 2]))
        value = opset.divide(value, np.float32(255))
        for number, rows in enumerate(self.layers):
            weights, bias = (
                np.float32(rows)[:, :-1, None, None],
                np.float32(rows)[None, :, -1:, None],
            )
            if number == 0:
                weights = np.tile(weights / CELL**2, (CELL, CELL))
            else:
                value = opset.relu(value)
            strides, none = [weights.shape[2]] * 2, [0, 0]
            value = opset.convolution(value, weights, strides, none, none, [1, 1])
            value.set_friendly_name(f"layer {number}")
            value = opset.add(value, bias)
        scores = opset.reshape(opset.sigmoid(value), np.int64([1, -1]), False)
        classes = len(self.layers[-1])
        corners = [(x, y, x + 1, y + 1) for y in range(GRID) for x in range(GRID)]
        boxes = np.tile(np.float32(corners) / GRID, (classes, 1))
        labels = np.repeat(np.arange(classes, dtype=np.int32), GRID**2)
        outputs = {"bboxes": boxes, "labels": labels}
        nodes = {name: opset.constant(value[None]) for name, value in outputs.items()}
        for name, node in (nodes | {"scores": scores}).items():
            node.output(0).get_tensor().set_names({name})
        results = [opset.result(node) for node in (*nodes.values(), scores)]
        return ov.Model(results, [image])

    def images(self, folder: Path) -> list[Path]:
        return [path for path, _ in draw(folder, self.calibration)]

    def subset(self, folder: Path) -> dict:
        """The prepared validation subset."""
        images, annotations = [], []
        for number, (path, colours) in enumerate(draw(folder, self.validation), start=1):
            side = GRID * CELL
            images.append({"id": number, "file_name": path.name, "width": side, "height": side})
            for place, colour in enumerate(colours):
                if colour in self.objects:
                    y, x = divmod(place, GRID)
                    box = [x * CELL, y * CELL, CELL, CELL]
                    category = self.objects[colour] + 1
                    found = {"image_id": number, "category_id": category, "bbox": box}
                    annotations.append(
                        found | {"id": len(annotations) + 1, "area": CELL**2, "iscrowd": 0}
                    )
        categories = [{"id": 1 + k, "name": f"class {k}"} for k in range(len(self.layers[-1]))]
        return {
            "info": {"image_root": str(folder)},
            "images": images,
            "annotations": annotations,
            "categories": categories,
        }


def draw(folder, images):
    """Draw images, and return their paths and colours by cell: the given ones at random places."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    drawn = []
    for number, colours in enumerate(images):
        cells = [colours[at] for at in rng.permutation(np.resize(range(len(colours)), GRID**2))]
        pixels = np.uint8(cells).reshape(GRID, GRID, 3).repeat(CELL, 0).repeat(CELL, 1)
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), pixels)
        drawn.append((path, cells))
    return drawn


def grey(level):
    return (level, level, level)


BLACK, DIM, LIGHT, WHITE = grey(0), grey(60), grey(150), grey(250)
BLUE, RED, PALE_RED = (250, 0, 0), (0, 0, 200), (0, 0, 160)

#: Each case, its preset, and the recipe and the layers in floating point that the search finds.
CASES = {
    # White cells are objects, light ones are not. Most images that calibrate have none of them.
    "dark images with rare highlights": (
        Case(
            layers=[[[1 / 3, 1 / 3, 1 / 3, 0]], [[40, -32]]],
            calibration=[[BLACK, DIM]] * 9 + [[BLACK, LIGHT, WHITE]],
            validation=[[BLACK, LIGHT, WHITE]] * 6,
            objects={WHITE: 0},
        ),
        "auto",
        "performance, min-max",
        [],
    ),
    # Blue makes the second channel large, and only the first tells red from pale red.
    "one channel a hundred times the others": (
        Case(
            layers=[[[0, 0, 1, 0], [100, 0, 0, 0]], [[40, 0, -28]]],
            calibration=[[BLACK, BLUE, RED, PALE_RED]] * 4,
            validation=[[BLACK, BLUE, RED, PALE_RED]] * 6,
            objects={RED: 0},
        ),
        "performance",
        "performance",
        ["layer 1"],
    ),
    # Red has high values and is rare, so by default it is clipped to the value of pale red.
    "a class score that saturates": (
        Case(
            layers=[[[1, 0, 0, 0], [0, 0, 10, 0]], [[40, 0, -30], [0, 4, -28]]],
            calibration=[[BLACK, BLUE]] * 9 + [[BLACK, RED, PALE_RED]],
            validation=[[BLACK, BLUE, RED, PALE_RED]] * 6,
            objects={BLUE: 0, RED: 1},
        ),
        "auto",
        "performance, min-max",
        [],
    ),
    "a calibration subset without what is validated": (
        Case(
            layers=[[[1 / 3, 1 / 3, 1 / 3, 0]], [[2, 0]], [[20, -32]]],
            calibration=[[BLACK, DIM]] * 4,
            validation=[[BLACK, LIGHT, WHITE]] * 6,
            objects={WHITE: 0},
        ),
        "auto",
        "performance",
        ["layer 1", "layer 2"],
    ),
}
PARAMETERS = post_training.Parameters(
    preset="auto",
    target="vnni",
    stat_subset_size=300,
    max_models=16,
    maximal_accuracy_degradation=1.0,
    on_degradation="fail",
)


def plain(model, images):
    """The model as NNCF quantizes it by default."""
    data = nncf.Dataset(images, read)
    return nncf.quantize(model, data, subset_size=len(images))


def read(path):
    return read_image(path)[None]


def f_measure(model, coco):
    evaluation = evaluate_subset(
        partial(inference.detect, inference.compile_model(model)), coco, None
    )
    return evaluation.counts(evaluation.best_confidence_threshold()).f_measure


def searched(case, folder, **changes):
    """A search that has run, and the model that it chose."""
    images, coco = case.images(folder / "calibration"), case.subset(folder / "validation")
    search = post_training.Search(case.model(), images, coco, replace(PARAMETERS, **changes))
    return search, search.run()


@pytest.mark.parametrize("name", CASES)
def test_what_collapses_by_default_stays_within_the_budget(name, tmp_path):
    case, preset, recipe, returned = CASES[name]
    search, best = searched(case, tmp_path, preset=preset)
    assert search.budget.original == 1
    assert (best.recipe.name, list(best.returned)) == (recipe, returned)
    assert best.f_measure == 1
    coco = case.subset(tmp_path / "again")
    assert f_measure(best.model, coco) == 1
    assert f_measure(plain(case.model(), case.images(tmp_path / "images")), coco) < 0.8


# The known range of the image


# The mean of the images' maxima is 79, so by default light and white cells look the same.
BRIGHT = Case(
    layers=[[[40 / 3, 40 / 3, 40 / 3, -32]]],
    calibration=[[BLACK, DIM]] * 9 + [[BLACK, LIGHT, WHITE]],
    validation=[[BLACK, LIGHT, WHITE]] * 6,
    objects={WHITE: 0},
)


@pytest.mark.parametrize("recipe", recipes.LADDER, ids=lambda recipe: recipe.name)
def test_no_recipe_clips_the_image(recipe, tmp_path):
    images, coco = BRIGHT.images(tmp_path / "calibration"), BRIGHT.subset(tmp_path / "validation")
    assert f_measure(recipes.quantize(BRIGHT.model(), images, recipe), coco) == 1
    if recipe is recipes.LADDER[0]:
        assert f_measure(plain(BRIGHT.model(), images), coco) < 0.8


# The ladder


def test_large_images_are_shrunk_before_they_calibrate(monkeypatch):
    image = np.arange(40 * 80 * 3, dtype=np.uint8).reshape(40, 80, 3)
    assert recipes.shrunk(image) is image
    monkeypatch.setattr(recipes, "LARGE", image.nbytes // 4)
    means = image.reshape(20, 2, 40, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(recipes.shrunk(image), means, atol=0.51)


def test_a_fixed_preset_is_the_only_recipe():
    for preset in ("performance", "mixed"):
        for target in ("vnni", "any"):
            assert [recipe.name for recipe in recipes.recipes(preset, target)] == [preset]
    assert recipes.recipes("auto", "vnni") == list(recipes.LADDER)


def test_the_first_recipe_within_the_budget_ends_the_search(tmp_path):
    search, best = searched(BRIGHT, tmp_path)
    assert search.tried == [best]
    assert best.recipe == recipes.LADDER[0]
    assert search.table().to_dict("records") == [
        {
            "recipe": "performance",
            "reverted_layers": 0,
            "f-measure": 1.0,
            "drop_points": 0.0,
            "drop_from": 0.0,
            "drop_to": 0.0,
        }
    ]


def test_if_the_first_recipe_is_undecided_the_next_one_is_tried_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr(post_training, "drop_interval", lambda *_: (-0.05, 0.05))
    search, best = searched(BRIGHT, tmp_path)
    assert [candidate.recipe for candidate in search.tried] == list(recipes.LADDER[:2])
    assert best is search.tried[0]  # of equal ones, the first
    assert search.budget.describe(best.f_measure, best.interval)["undecided"]


def test_the_int8_model_has_the_threshold_that_it_was_judged_by(tmp_path):
    images, coco = BRIGHT.images(tmp_path / "calibration"), BRIGHT.subset(tmp_path / "validation")
    write_model_folder(
        BRIGHT.model(), tmp_path / "openvino", DESCRIPTION | {"confidence_threshold": 0.975}
    )
    post_training.quantize_folder(tmp_path / "openvino", images, coco, PARAMETERS, tmp_path / "pot")
    threshold = json.loads((tmp_path / "pot/config.json").read_text())["confidence_threshold"]
    detector = inference.OpenvinoDetector(tmp_path / "pot")
    evaluation = evaluate_subset(detector, coco, None)
    assert threshold == detector.confidence_threshold == evaluation.best_confidence_threshold()
    assert evaluation.counts(threshold).f_measure == 1


# Layers that return to floating point


def test_a_search_ends_after_the_largest_number_of_models(tmp_path):
    case = CASES["one channel a hundred times the others"][0]
    search, _ = searched(case, tmp_path / "recipes", max_models=2)
    assert [candidate.recipe for candidate in search.tried] == list(recipes.LADDER[:2])
    search, best = searched(case, tmp_path / "layers", preset="performance", max_models=2)
    assert [len(candidate.returned) for candidate in search.tried] == [0, 2]
    assert best is search.tried[1]


def test_a_model_beyond_its_budget_is_refused_with_a_table_of_what_was_tried(tmp_path):
    case = CASES["one channel a hundred times the others"][0]
    source, target = tmp_path / "openvino", tmp_path / "pot"
    write_model_folder(case.model(), source, DESCRIPTION)
    images, coco = case.images(tmp_path / "calibration"), case.subset(tmp_path / "validation")
    few = replace(PARAMETERS, max_models=2)
    with pytest.raises(InputError) as error:
        post_training.quantize_folder(source, images, coco, few, target)
    assert "| performance, min-max |                 0 |" in str(error.value)
    assert "pot_parameters.max_models" in str(error.value)
    assert not target.exists()

    warn = replace(few, on_degradation="warn")
    post_training.quantize_folder(source, images, coco, warn, target)
    described = json.loads((target / "config.json").read_text())["quantization"]
    assert described["within_budget"] is False
    assert [entry["recipe"] for entry in described["tried"]] == [
        "performance",
        "performance, min-max",
    ]


@pytest.mark.parametrize("needed", [1, 2, 3, 7, 40, 98, 99])
def test_a_bisection_finds_the_fewest_layers(needed):
    asked = []

    def suffices(count):
        asked.append(count)
        return count >= needed

    assert layers.fewest(suffices, 99, 20) == needed
    assert len(asked) == len(set(asked)) <= 9
    assert all(0 < count < 99 for count in asked)
    assert layers.fewest(suffices, 99, 3) >= needed
    assert layers.fewest(suffices, 99, 0) == 99


def test_layers_are_ordered_by_the_noise_of_their_own_quantizers(tmp_path):
    """The noise of each layer alone, from models in which it alone is quantized."""
    case = Case(
        layers=[[[0, 0, 1, 0], [50, 0, 0, 0]], [[1, 0, 0], [0, 0.02, 0.1]], [[4, 1, -2]]],
        calibration=[[BLACK, BLUE, RED, PALE_RED, LIGHT]] * 4,
        validation=[],
        objects={},
    )
    images, model, recipe = case.images(tmp_path / "images"), case.model(), recipes.LADDER[0]
    exact = inference.compile_model(model)

    def noise(layer):
        others = [name for name in ("layer 0", "layer 1", "layer 2") if name != layer]
        quantized = recipes.quantize(model, images, recipe, others)
        quantized = inference.compile_model(quantized)
        errors = [
            quantized(image)["scores"] - exact(image)["scores"] for image in map(read, images)
        ]
        return np.square(errors).sum()

    quantized = recipes.quantize(model, images, recipe)
    order = layers.noisiest_first(model, quantized, [read_image(path) for path in images])
    order = [name for name in order if name.startswith("layer")]
    assert order == sorted(order, key=noise, reverse=True)
    assert len(order) == 3


# CPUs whose 8-bit sums saturate


# Sums of two products of 8-bit integers exceed 16 bits: 2 * 255 * 127.
LARGE_SUMS = Case(
    layers=[
        [[1, 1, 1, 0]] * 4,
        [[2, 2, 2, 2, -22.8]],
    ],
    calibration=[[BLACK, LIGHT, WHITE, grey(235)]] * 4,
    validation=[[BLACK, LIGHT, WHITE, grey(235)]] * 6,
    objects={WHITE: 0},
)


@pytest.mark.parametrize("target, largest", [("vnni", [63, 127]), ("any", [63, 63])])
def test_any_target_halves_the_range_of_all_weights(target, largest, tmp_path):
    images, coco = LARGE_SUMS.images(tmp_path / "images"), LARGE_SUMS.subset(tmp_path / "subset")
    for recipe in recipes.recipes("performance", target):
        model = recipes.quantize(LARGE_SUMS.model(), images, recipe)
    assert [
        np.abs(node.data.astype(int)).max()
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Constant" and node.get_element_type() == ov.Type.i8
    ] == largest
    # Where the CPU has no instructions for int8, sums of the full range saturate.
    collapses = target == "vnni" and cpu()["int8_instructions"] == []
    assert (f_measure(model, coco) < 0.8) == collapses


def test_sums_that_saturate_cost_nothing_in_the_end(tmp_path):
    assert searched(LARGE_SUMS, tmp_path)[1].f_measure == 1
