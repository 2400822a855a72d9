"""The model card of a deployed model: its data, figures, limits and licenses, as Markdown.

It answers what Mitchell et al., Model Cards for Model Reporting (2019), ask for, as far as the
build knows it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from detmake.data import subsets
from detmake.detections import Detections
from detmake.evaluation import bootstrap
from detmake.evaluation.metrics import SIZES, Evaluation
from detmake.markdown_text import escaped

_FIGURES = {"f-measure": "F-measure", "mAP50": "mAP at IoU 0.5", "mAP": "mAP at IoU 0.5 to 0.95"}
#: With fewer boxes, one box more or less changes the recall of a class by 3 points or more.
_FEW = 30
#: COCO's limits of small and medium objects, in pixels of the image.
_LIMITS = (32**2, 96**2)

_Subsets = Mapping[str, Mapping[str, Any]]


def text(
    description: Mapping[str, Any],
    performance: Mapping[str, Any],
    data: _Subsets,
    evaluated: str,
    detections: Mapping[int, Detections],
    start: str,
) -> str:
    """Return the model card.

    Args:
        description: content of the model folder's `config.json`.
        performance: content of its `performance.json`.
        data: the prepared subsets by name, in order: `train`, `val` and the evaluated one.
        evaluated: the name of the evaluated subset.
        detections: what the model found in its images (`evaluation.predictions`).
        start: what the weights come from, a sentence.
    """
    width, height = description["input_size"]
    threshold = description["confidence_threshold"]
    labels = ", ".join(map(escaped, description["labels"]))
    parts = [
        f"# Model card: {escaped(description['template']['name'])}",
        f"A detector of {labels}, built with detmake. {escaped(start)}",
        "## Input and output",
        f"An image of any size, which the model scales to {width}×{height} pixels"
        f"{_tiles(description)}. It finds boxes, each with a class and a score. Boxes with a score "
        f"of at least {threshold:g} count: this confidence threshold gave the highest F-measure on "
        f"the val subset. Non-maximum suppression at an IoU of {description['iou_threshold']:g} "
        "removes boxes of the same object.",
        "## Data",
        _table(_data_rows(data)),
        overlap(data, evaluated),
        "## Figures",
        f"On the {evaluated} subset, at a confidence threshold of "
        f"{performance['confidence_threshold']:g}{_machine(performance)}. "
        f"{_chosen(performance)}The intervals (95 %, a bootstrap over the images) say how much the "
        "figures depend on the choice of these images.",
        _table(_figure_rows(performance, data[evaluated], detections)),
        _table(_class_rows(performance)),
        _quantization(performance),
        "## What it was not measured on",
        "\n".join(f"- {line}" for line in _limits(data, evaluated)),
        "## Licenses",
        _licenses(data),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def origin(pretrained: Mapping[str, Any] | None, weights: str | None) -> str:
    """Say what a model's weights come from, without the path of a file.

    Args:
        pretrained: the section `pretrained` of the configuration: `source` and perhaps `license`.
        weights: the key `weights`: the file of finished weights that replaced a training.
    """
    if weights:
        return f"Its weights are those of {Path(weights).name}, whose license is not known."
    if not pretrained:
        return "Its training started from random weights."
    source = pretrained["source"]
    if source == "previous":
        shown = "an earlier snapshot of the same run"
    else:
        shown = source if "://" in source else Path(source).name
    license = pretrained.get("license") or "the configuration does not say (pretrained.license)"
    return f"Its training started from {shown}. Their license: {license}."


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    table = pd.DataFrame(rows).astype(str).map(escaped).rename(columns=escaped)
    align = ("left", *["right"] * (table.shape[1] - 1))
    return table.to_markdown(index=False, disable_numparse=True, colalign=align)


def _tiles(description: Mapping[str, Any]) -> str:
    tiling = description.get("tiling")
    return f"; it looks at parts of {'×'.join(map(str, tiling['size']))} pixels" if tiling else ""


def _data_rows(data: _Subsets) -> list[dict[str, Any]]:
    rows = []
    for name, coco in data.items():
        boxes = Counter(one["category_id"] for one in coco["annotations"] if not one["iscrowd"])
        row = {"subset": name, "images": len(coco["images"]), "boxes": boxes.total()}
        classes = enumerate(subsets.class_names(coco), start=1)
        rows.append(row | {f"boxes of {name}": boxes[number] for number, name in classes})
    return rows


def overlap(data: _Subsets, evaluated: str) -> str:
    """Return a warning if the figures are of images that also chose the weights; or nothing.

    Args:
        data: the prepared subsets by name: the evaluated one, and those of `train` and `val` that
            are known.
        evaluated: the name of the evaluated subset.
    """
    digests = {name: {image["sha256"] for image in coco["images"]} for name, coco in data.items()}
    if shared := digests[evaluated] & digests.get("train", set()):
        return f"Images of the {evaluated} subset that are in train, too: {len(shared)}."
    if evaluated == "val" or digests[evaluated] <= digests.get("val", set()):
        return (
            "The figures are of the images that also chose the weights and the confidence "
            "threshold. On other images, expect less."
        )
    return ""


def overlap_of(subset: Path) -> str:
    """Return the same for a prepared subset whose file lies beside those of `train` and `val`."""
    files = {name: subset.with_name(f"{name}.json") for name in ("train", "val", subset.stem)}
    data = {name: subsets.read(file) for name, file in files.items() if file.exists()}
    return overlap(data, subset.stem)


def _machine(performance: Mapping[str, Any]) -> str:
    machine = performance["measured_with"]
    return f", on {machine['cpu'] or 'an unknown CPU'} (device {machine['device']})"


def _chosen(performance: Mapping[str, Any]) -> str:
    """Return the F-measure at the model's own threshold if the figures are at another one."""
    validated = performance["at_validated_threshold"]
    threshold = validated["confidence_threshold"]
    if threshold == performance["confidence_threshold"]:
        return ""
    return (
        "The model's own threshold was chosen on the validation subset. "
        f"At {threshold:g}, the F-measure is {validated['f-measure']:.3f}. "
    )


def _figure_rows(
    performance: Mapping[str, Any],
    coco: Mapping[str, Any],
    detections: Mapping[int, Detections],
) -> list[dict[str, Any]]:
    evaluation = Evaluation(coco, detections)
    samples = bootstrap.resample(evaluation, performance["confidence_threshold"])
    ends = {key: bootstrap.interval(samples[key]) for key in _FIGURES}
    return [
        {
            "figure": name,
            "value": f"{performance[key]:.3f}",
            "95 % interval": "{:.3f} to {:.3f}".format(*ends[key]),
        }
        for key, name in _FIGURES.items()
    ]


def _class_rows(performance: Mapping[str, Any]) -> list[dict[str, Any]]:
    columns = {"f-measure": "F-measure", "precision": "precision", "recall": "recall", "ap50": "AP"}

    def figure(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    return [
        {
            "class": name,
            "boxes": values["ground_truths"],
            **{title: figure(values[key]) for key, title in columns.items()},
        }
        for name, values in performance["per_class"].items()
    ]


def _quantization(performance: Mapping[str, Any]) -> str:
    if not (made := performance.get("quantization")):
        return ""
    target = " It needs a CPU with VNNI or AMX." if made.get("target") == "vnni" else ""
    return (
        f"It is an int8 model, made by {made['method']}.{target} "
        "`model/performance.json` says under `quantization` what that cost on the val subset."
    )


def _limits(data: _Subsets, evaluated: str) -> list[str]:
    """Return what the figures say nothing about."""
    coco = data[evaluated]
    widths, heights = ([image[side] for image in coco["images"]] for side in ("width", "height"))
    lines = [
        f"Images of other sizes than {_range(widths)} pixels wide and {_range(heights)} high.",
        "Other cameras, places, light, weather or compression than those of the evaluated images, "
        "and objects of no class of the table.",
        "Groups of people or things that the annotations do not tell apart.",
        "Other devices and CPUs: `demo.py images/ --verify annotations.json` measures on yours.",
    ]
    boxes = [entry for entry in coco["annotations"] if not entry["iscrowd"]]
    counts = Counter(entry["category_id"] for entry in boxes)
    rare = [
        f"{escaped(name)} ({counts[number]})"
        for number, name in enumerate(subsets.class_names(coco), start=1)
        if counts[number] < _FEW
    ]
    if rare:
        lines.append(f"Classes with fewer than {_FEW} boxes there, hardly: {', '.join(rare)}.")
    sizes = Counter(SIZES[sum(entry["area"] >= limit for limit in _LIMITS)] for entry in boxes)
    if missing := [size for size in SIZES if not sizes[size]]:
        lines.append(
            f"Objects that COCO calls {' or '.join(missing)} (below 32², below 96² and from 96² "
            "pixels of the image): there are none."
        )
    return lines


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def _licenses(data: _Subsets) -> str:
    declared = {
        " ".join(str(entry[key]) for key in ("name", "url") if entry.get(key)): None
        for coco in data.values()
        for entry in coco.get("licenses", [])
    }
    of_data = (
        f"The annotation files declare these licenses of the data: {escaped('; '.join(declared))}."
        if declared
        else "The annotation files declare no license of the data: ask who made it."
    )
    return (
        f"{of_data} `NOTICE` has those of the code and of the weights that training started from."
    )
