"""Plain words about figures: what they mean, and what one would do about it."""

from collections.abc import Mapping, Sequence

import pandas as pd

from detmake.data.findings import listed
from detmake.evaluation.bootstrap import interval
from detmake.evaluation.metrics import SIZES
from detmake.report.run import Model

#: What each type of error is, and what helps against it.
ERRORS = {
    "classification": (
        "The place is right, the class is wrong.",
        "Look at the confusions: which classes are mistaken, and are they annotated alike? "
        "More images of the rarer one help.",
    ),
    "localization": (
        "The class is right, but the box overlaps the object too little (IoU 0.1 to 0.5).",
        "Check how tightly the boxes are annotated. Train longer, or with a larger input_size.",
    ),
    "both": (
        "Wrong class and too little overlap.",
        "These mostly go with the errors of class and place: mend those first.",
    ),
    "duplicate": (
        "A second detection of an object that is found already.",
        "Lower the template's IoU threshold of non-maximum suppression.",
    ),
    "background": (
        "A detection where no object is annotated.",
        "See the suspected label errors: the object may be there. Otherwise add images of such "
        "background, or raise the confidence threshold.",
    ),
    "missed": (
        "An annotated object that nothing finds.",
        "Look at its size in the table of classes. Small objects need a larger input_size; rare "
        "classes need more images; if the threshold hides it, lower it.",
    ),
}
#: Boxes of a class below which its figures say little.
FEW = 10
#: AP below this share of the best size's is a weakness.
_WEAK = 0.7
#: Share of the smallest boxes, and multiple of the others' share, from which being missed is one.
_MISSED, _MORE = 0.2, 2


def verdict(models: Sequence[Model]) -> str:
    """Say in one or two sentences what was reached."""
    if not models:
        return "No model of this run is measured yet."
    first = models[0]
    low, high = first.intervals["f-measure"]
    sentences = [
        f"The {first.name} has an F-measure of {first.performance['f-measure']:.3f} "
        f"(95 % interval: {low:.3f} to {high:.3f})."
    ]
    plain = next((model for model in models if model.name == "IR"), None)
    quantized = [model for model in models if model.quantization]
    for model in quantized:
        kept = model.quantization["within_budget"]
        lost = max(model.quantization["drop_points"], 0)
        sentence = (
            f"{model.name} {'keeps' if kept else 'exceeds'} its budget: it loses {lost:.1f} of at "
            f"most {model.quantization['maximal_accuracy_degradation']:g} points of F-measure on "
            "the validation subset"
        )
        if plain and plain.speed and model.speed:
            share = model.speed["latency_ms"] / plain.speed["latency_ms"]
            sentence += f", and needs {share:.2f} times the IR's time for an image"
        sentences.append(f"{sentence}.")
    if not quantized:
        sentences.append("No quantized model is measured.")
    return " ".join(sentences)


def difference(model: Model, first: Model) -> str:
    """Say whether a model's F-measure differs from the first one's by more than noise."""
    if model is first:
        return "reference"
    points = 100 * (model.performance["f-measure"] - first.performance["f-measure"])
    low, high = interval(100 * (model.samples["f-measure"] - first.samples["f-measure"]))
    noise = "within noise" if low <= 0 <= high else "beyond noise"
    return f"{points:+z.1f} points ({low:z.1f} to {high:z.1f}): {noise}".replace("-", "−")


def passed(quantization: Mapping[str, object]) -> str:
    """Say whether a model kept its accuracy budget."""
    if not quantization:
        return "–"
    if not quantization["within_budget"]:
        return "not passed"
    return "passed, but too few images to be sure" if quantization.get("undecided") else "passed"


def classes(table: pd.DataFrame) -> list[str]:
    """Say which classes are weak, and at which sizes; nothing of classes with few boxes.

    Args:
        table: indexed by class: `ground_truths`, `precision`, `recall`, AP by `SIZES`, and the
            columns of `detmake.evaluation.missed.smallest_quarter`.
    """
    few = table.index[table.ground_truths < FEW]
    what = f"classes with fewer than {FEW} boxes, too few to judge"
    remarks = [listed(what, list(few))] if len(few) else []
    for name, row in table[table.ground_truths >= FEW].iterrows():
        sizes = row[list(SIZES)].astype(float)
        others = row.larger_missed / max(row.larger, 1)
        if row.smallest_missed >= max(_MISSED, _MORE * others) * max(row.smallest, 1):
            remarks.append(
                f"{name}: of the boxes below {row.side:.0f} pixels (square root of the area), "
                f"{row.smallest_missed:.0f} of {row.smallest:.0f} are missed, of the others "
                f"{100 * others:.0f} %: try a larger input_size, or tiling."
            )
        elif sizes.notna().sum() > 1 and sizes.min() < _WEAK * sizes.max():
            worst = sizes.idxmin()
            remedy = {
                "small": "try a larger input_size, or tiling",
                "large": "add images of large ones, or check their boxes",
            }.get(worst, "add images of this size")
            remarks.append(
                f"{name}: weakest at {worst} objects (AP {sizes[worst]:.2f}, against "
                f"{sizes.max():.2f} at {sizes.idxmax()} ones): {remedy}."
            )
        elif row.recall < row.precision - 0.1:
            remarks.append(f"{name}: misses more than it invents; a lower threshold finds more.")
        elif row.precision < row.recall - 0.1:
            remarks.append(f"{name}: invents more than it misses; a higher threshold is stricter.")
    return remarks
