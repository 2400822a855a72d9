"""Post-training quantization of an exported model with NNCF, within an accuracy budget."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pandas as pd

from detmake.data import subsets
from detmake.evaluation.bootstrap import drop_interval
from detmake.evaluation.metrics import Evaluation
from detmake.quantization import measured
from detmake.quantization.budget import Budget
from detmake.quantization.layers import fewest, noisiest_first
from detmake.quantization.recipes import Recipe, quantize, recipes, shrunk
from detmake.runtime import openvino_core
from detmake.runtime.images import read_image
from detmake.runtime.model_folder import write_model_folder
from detmake.tiling import Tiling, Window

log = logging.getLogger("detmake")

#: Images on which layers are ordered.
ORDERING_IMAGES = 4


@dataclass(frozen=True)
class Parameters:
    """Settings of post-training quantization: the section `pot_parameters`.

    Attributes:
        preset: `performance` (symmetric quantization), `mixed` (asymmetric activations), or `auto`:
            one recipe after the other.
        target: `vnni`: for CPUs with VNNI or AMX; `any`: safe on those without, too.
        stat_subset_size: the number of calibration images, at most.
        max_models: the number of int8 models that are made and measured, at most.
        maximal_accuracy_degradation: the largest drop of F-measure on the validation subset, in
            points: 1.0 is 0.01.
        on_degradation: `fail` or `warn` if the drop is larger.
    """

    preset: str
    target: str
    stat_subset_size: int
    max_models: int
    maximal_accuracy_degradation: float
    on_degradation: str


@dataclass(frozen=True)
class Candidate:
    """A measured int8 model.

    Attributes:
        recipe: how it was quantized.
        returned: names of the layers that returned to floating point.
        model: the model.
        threshold: its best confidence threshold on the validation subset.
        f_measure: its F-measure there.
        interval: ends of the 95 % interval of its drop of F-measure, in points.
    """

    recipe: Recipe
    returned: Sequence[str]
    model: ov.Model
    threshold: float
    f_measure: float
    interval: tuple[float, float]


def quantize_folder(
    source: Path,
    images: Sequence[Path],
    val_coco: Mapping[str, Any],
    parameters: Parameters,
    folder: Path,
    device: str = "CPU",
) -> None:
    """Quantize a model folder into another one (`detmake.runtime.model_folder`).

    Args:
        source: folder of the floating-point model.
        images: calibration images, as the network sees them: tiles if the model looks at these.
        val_coco: the prepared validation subset, on which accuracy is measured.
        parameters: the settings.
        folder: receives the int8 model; `quantization` in its `config.json` says how it was made.
        device: the device of OpenVINO on which accuracy is measured.

    Raises:
        InputError: the floating-point model finds nothing; or the int8 model exceeds the budget and
            `on_degradation` is `fail`.
    """
    description = json.loads((source / "config.json").read_text(encoding="utf-8"))
    model = openvino_core.core().read_model(source / "openvino.xml")
    tiling = Tiling.described(description.get("tiling"))
    search = Search(model, images, val_coco, parameters, tiling, device)
    best = search.run()
    tried = search.table()
    log.info("Tried:\n%s", tried.to_markdown(index=False))
    search.budget.enforce(
        best.f_measure,
        parameters.on_degradation,
        "pot_parameters",
        tried.to_markdown(index=False),
    )
    if best.returned:
        names = ", ".join(sorted(best.returned))
        log.info("Returned %d layers to floating point: %s", len(best.returned), names)
    result = {
        "method": "post-training quantization",
        "recipe": best.recipe.name,
        "target": parameters.target,
        "reverted_layers": len(best.returned),
        **search.budget.describe(best.f_measure, best.interval),
        "tried": tried.to_dict("records"),
    }
    # The float model's threshold may lie where int8 shifted scores.
    changed = {"confidence_threshold": best.threshold, "quantization": result}
    write_model_folder(best.model, folder, {**description, **changed})
    report = search.budget.report(best.f_measure, best.interval)
    log.info("%s, recipe %s: %s", folder, best.recipe.name, report)


class Search:
    """The search for an int8 model within the budget.

    First come the recipes, the fastest models first, until one is within the budget. If none is,
    layers of the most accurate model return to floating point, those first whose quantization
    disturbs the outputs most. A bisection on the measured F-measure finds how many.

    Args:
        model: the floating-point model.
        images: calibration images.
        val_coco: the prepared validation subset.
        parameters: the settings.
        tiling: how the model cuts images; None leaves them whole.
        device: the device of OpenVINO that runs the models to measure them.

    Attributes:
        budget: the accuracy budget.
        tried: the measured models, in order.

    Raises:
        InputError: the floating-point model finds nothing.
    """

    def __init__(
        self,
        model: ov.Model,
        images: Sequence[Path],
        val_coco: Mapping[str, Any],
        parameters: Parameters,
        tiling: Tiling | None = None,
        device: str = "CPU",
    ) -> None:
        self._model = model
        self._images = images
        self._val_coco = val_coco
        self._parameters = parameters
        self._tiling = tiling
        self._device = device
        self._original = self._evaluate(model)
        self.budget = Budget(self._original.best()[1], parameters.maximal_accuracy_degradation)
        self.tried: list[Candidate] = []

    def run(self) -> Candidate:
        """Return the chosen model: one within the budget, or the most accurate one."""
        best = self._best_recipe()
        if self._allows(best) or not self._models_left():
            return best
        log.warning("Budget exceeded: returning layers to floating point, the noisiest first")
        # Of the validation subset: calibration images may lack what is lost.
        # One at a time: they may be large.
        few = (shrunk(self._seen(image)) for image in self._spread_over_val())
        layers = noisiest_first(self._model, best.model, few)
        attempts = self._parameters.max_models - len(self.tried)
        enough = fewest(
            lambda count: self._allows(self._try(best.recipe, layers[:count])),
            len(layers),
            attempts,
        )
        found = [candidate for candidate in self.tried if len(candidate.returned) == enough]
        return found[0] if found else max(self.tried, key=lambda one: one.f_measure)

    def table(self) -> pd.DataFrame:
        """Return a row for each measured model."""
        return pd.DataFrame(
            {
                "recipe": candidate.recipe.name,
                "reverted_layers": len(candidate.returned),
                "f-measure": round(candidate.f_measure, 4),
                "drop_points": round(self.budget.drop(candidate.f_measure), 2),
                "drop_from": round(candidate.interval[0], 2),
                "drop_to": round(candidate.interval[1], 2),
            }
            for candidate in self.tried
        )

    def _best_recipe(self) -> Candidate:
        """Try recipes until one is within the budget.

        If images are too few to tell whether it is, the next recipe is tried as well.
        """
        for recipe in recipes(self._parameters.preset, self._parameters.target):
            was_within = bool(self.tried) and self._allows(self.tried[-1])
            candidate = self._try(recipe)
            surely = self._allows(candidate) and not self.budget.undecided(candidate.interval)
            if surely or was_within or not self._models_left():
                break
        return max(self.tried, key=lambda candidate: candidate.f_measure)

    def _try(self, recipe: Recipe, returned: Sequence[str] = ()) -> Candidate:
        """Make a model and measure it."""
        model = quantize(self._model, self._images, recipe, returned)
        evaluation = self._evaluate(model)
        interval = tuple(100 * end for end in drop_interval(self._original, evaluation))
        candidate = Candidate(recipe, returned, model, *evaluation.best(), interval)
        self.tried.append(candidate)
        log.info(
            "Recipe '%s', %d layers in floating point: %s",
            recipe.name,
            len(returned),
            self.budget.report(candidate.f_measure, interval),
        )
        return candidate

    def _allows(self, candidate: Candidate) -> bool:
        return self.budget.allows(candidate.f_measure)

    def _models_left(self) -> bool:
        return len(self.tried) < self._parameters.max_models

    def _spread_over_val(self) -> list[Mapping[str, Any]]:
        """Return a few images of the validation subset."""
        return subsets.evenly_spread(self._val_coco["images"], ORDERING_IMAGES)

    def _seen(self, image: Mapping[str, Any]) -> np.ndarray:
        """Read an image as the network sees it: of one that is cut, the tile with most boxes."""
        pixels = read_image(Path(self._val_coco["info"]["image_root"], image["file_name"]))
        if self._tiling is None:
            return pixels
        corners = [
            entry["bbox"][:2]
            for entry in self._val_coco["annotations"]
            if entry["image_id"] == image["id"]
        ]
        corners = np.array(corners).reshape(-1, 2)

        def boxes(window: Window) -> int:
            return int(((corners >= window[:2]) & (corners < window[2:])).all(axis=1).sum())

        tiles = replace(self._tiling, whole_image=False).windows(image["width"], image["height"])
        left, top, right, bottom = max(tiles, key=boxes)
        return pixels[top:bottom, left:right]

    def _evaluate(self, model: ov.Model) -> Evaluation:
        return measured.evaluate(model, self._val_coco, self._tiling, self._device)
