"""Charts of the report, as SVG that stands inside an HTML page."""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from html import escape
from itertools import cycle, zip_longest

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from detmake.evaluation.metrics import CONFIDENCE_THRESHOLDS, Evaluation
from detmake.evaluation.precision_recall import RECALLS
from detmake.runtime.drawing import label_places

#: Stands for the colour of the page's text, which is another one in dark mode.
_INK = "#010203"
#: What `accuracy_against_latency` shows, in words.
BEST = (
    "Further up and further left is better. A line joins the models that no other one beats on the "
    "same images."
)
INTERVALS = "A thin upright line is the 95 % interval of an F-measure."
_LABEL = 9  # size of the names beside points
#: Curves that a legend names; a chart of more classes names none.
LEGEND = 10
_STYLE = {
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # a class may be called $x
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    **{
        f"{what}color": _INK
        for what in ("text.", "axes.edge", "axes.label", "xtick.", "ytick.", "grid.")
    },
}


def confidence(evaluation: Evaluation, threshold: float) -> str:
    """Draw F-measure, precision and recall against confidence, of all classes and of each."""
    labels = [None, *range(len(evaluation.classes))]
    counts = {
        label: [evaluation.counts(one, label) for one in CONFIDENCE_THRESHOLDS] for label in labels
    }

    figures = {"f_measure": "F-measure", "precision": "precision", "recall": "recall"}

    def curve(figure: str, label: int | None) -> list[float]:
        # Without detections, there is no precision.
        return [getattr(one, figure) if one.detections else np.nan for one in counts[label]]

    def draw(together: Axes, *apart: Axes) -> None:
        together.set_title("All classes")
        for figure, name in figures.items():
            together.plot(CONFIDENCE_THRESHOLDS, curve(figure, None), label=name)
        for (figure, name), axes in zip(figures.items(), apart, strict=True):
            axes.set_title(f"{name[0].upper()}{name[1:]} of each class")
            for label, one in enumerate(evaluation.classes):
                named = _named(one, evaluation.classes)
                axes.plot(CONFIDENCE_THRESHOLDS, curve(figure, label), **named)
        if len(evaluation.classes) <= LEGEND:
            apart[1].legend(
                fontsize="small", loc="lower right"
            )  # where curves of precision seldom are
        for axes in (together, *apart):
            axes.axvline(threshold, color=_INK, linestyle=":", label="chosen threshold")
            axes.set(xlabel="confidence threshold", xlim=(0, 1), ylim=(0, 1.02))
        together.legend(fontsize="small")

    best = evaluation.counts(threshold)
    return as_svg(
        "confidence",
        f"Four charts against the confidence threshold. At the chosen threshold {threshold:g}, "
        f"F-measure is {best.f_measure:.3f}, precision {best.precision:.3f}, "
        f"recall {best.recall:.3f}.",
        draw,
        columns=2,
        rows=2,
    )


def precision_recall(evaluation: Evaluation) -> str:
    """Draw precision against recall at IoU 0.5 of all classes and each."""

    def draw(axes: Axes) -> None:
        for label, name in enumerate(evaluation.classes):
            curve = evaluation.precision_at_recalls(label)
            axes.plot(RECALLS, curve, **_named(name, evaluation.classes))
        mean = evaluation.precision_at_recalls()
        axes.plot(RECALLS, mean, color=_INK, linewidth=2.5, label="mean of all classes")
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(fontsize="small")

    return as_svg(
        "precision-recall",
        f"Precision against recall. Their mean over the classes is the mAP50, "
        f"{evaluation.average_precision(0.5):.3f}.",
        draw,
    )


def error_costs(table: pd.DataFrame) -> str:
    """Draw the cost of each type of error (`detmake.evaluation.error_types.costs`) as bars."""

    def draw(axes: Axes) -> None:
        bars = axes.barh(table.index[::-1], 100 * table.cost[::-1], color="#c2573a")
        axes.bar_label(bars, [f" {cost:.1f}" for cost in 100 * table.cost[::-1]])
        axes.set_xlabel("cost: points of mAP50 that mending this type alone would give")
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, max(110 * table.cost.max(), 1))

    worst = table.cost.idxmax()
    text = f"Bars: the cost of each type of error. {worst} costs most: {100 * table.cost.max():.1f}"
    return as_svg("errors", f"{text} points of mAP50.", draw, height=2.8)


def training(scalars: pd.DataFrame) -> str | None:
    """Draw losses, learning rate and validation of a training; None if nothing was logged.

    Args:
        scalars: the training's `scalars.csv`; a step of training is an iteration, and one of
            validation an epoch.
    """
    trained = scalars[scalars.kind == "train"]
    validated = scalars[scalars.kind == "validation"]
    if trained.empty or validated.empty:
        return None
    chosen = validated.loc[validated["f-measure"].idxmax()]
    per_epoch = trained.iter.max() / trained.epoch.max()

    def draw(loss: Axes, rate: Axes, figures: Axes) -> None:
        epochs = trained.iter / per_epoch
        for name in trained.columns[trained.columns.str.startswith("loss")]:
            if trained[name].notna().any():
                loss.plot(epochs, trained[name], label=name)
        loss.set_title("Training loss")
        rate.plot(epochs, trained.lr)
        rate.set_title("Learning rate")
        figures.plot(validated.step, validated["f-measure"], label="F-measure")
        figures.plot(validated.step, validated["mAP50"], label="mAP50")
        figures.axvline(chosen.step, color=_INK, linestyle=":", label="chosen epoch")
        figures.set_title("Validation")
        for axes in (loss, rate, figures):
            axes.set_xlabel("epoch")
            axes.set_ylim(bottom=0)
        loss.legend(fontsize="small")
        figures.legend(fontsize="small")

    return as_svg(
        "training",
        f"Three charts of the training. F-measure on the validation subset is best after epoch "
        f"{chosen.step:.0f}: {chosen['f-measure']:.3f}.",
        draw,
        columns=3,
    )


def accuracy_against_latency(models: pd.DataFrame) -> str:
    """Draw models by latency and F-measure; join those that no other one beats on its images.

    Args:
        models: `model`, its name; `latency_ms`; `f-measure` in [0, 1]; `run`, if they are of
            several runs; `subset_sha256`, if they were measured on several subsets;
            `f-measure_low` and `f-measure_high`, if its interval is known.
    """
    models = models.sort_values("latency_ms")
    if "run" not in models:
        models = models.assign(run="")
    if "subset_sha256" not in models:
        models = models.assign(subset_sha256="")
    runs, kinds = models.run.unique(), models.model.unique()
    names = models.model if len(runs) == 1 else models.run + " " + models.model
    lines = [best(measured) for _, measured in models.groupby("subset_sha256", sort=False)]
    joined = pd.concat(lines)
    colours = dict(zip(runs, map("C{}".format, range(len(runs))), strict=True))
    markers = dict(zip(kinds, cycle("os^Dv"), strict=False))

    def draw(axes: Axes) -> None:
        for label, line in zip_longest(["best ones"], lines):
            axes.plot(line.latency_ms, line["f-measure"], color=_INK, alpha=0.4, label=label)
        for model in models.to_dict("records"):
            colour, at = colours[model["run"]], model["latency_ms"]
            if "f-measure_low" in model:
                axes.vlines(at, model["f-measure_low"], model["f-measure_high"], colour, alpha=0.6)
            marker = markers[model["model"]] if len(runs) > 1 else "o"
            axes.plot(at, model["f-measure"], marker, color=colour, clip_on=False)
        axes.set(xlabel="latency of one image [ms]", ylabel="F-measure")
        axes.margins(x=0.15, y=0.2)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=max(axes.get_ylim()[0], 0))
        if not models["f-measure"].any():
            axes.set_ylim(0, 1)
        named = models
        if len(runs) > 1:  # too many to name each: a colour for each run, a marker for each model
            for run in runs:
                axes.plot([], [], "-", color=colours[run], linewidth=4, label=run)
            for kind in kinds:
                axes.plot([], [], markers[kind], color=_INK, label=kind)
            axes.get_figure().legend(fontsize="small", loc="outside right upper")
            named = joined
        places = named[["latency_ms", "f-measure"]].to_numpy()
        label_points(axes, places, list(names[named.index]))

    text = ", ".join(
        f"{name} {f:.3f} in {ms:.1f} ms"
        for name, f, ms in zip(names, models["f-measure"], models.latency_ms, strict=True)
    )
    return as_svg("latency", f"F-measure against latency: {text}.", draw)


def best(models: pd.DataFrame) -> pd.DataFrame:
    """Return the models than which no other one is faster and better, by latency."""
    models = models.sort_values(["latency_ms", "f-measure"], ascending=[True, False])
    return models[models["f-measure"] > models["f-measure"].cummax().shift(fill_value=-1)]


def standalone(svg: str) -> str:
    """Return a chart as the content of an SVG file, on white."""
    style = "color: #1c2126; background: #ffffff"
    return svg.replace("<svg ", f'<svg xmlns="http://www.w3.org/2000/svg" style="{style}" ', 1)


def label_points(axes: Axes, points: np.ndarray, names: Sequence[str]) -> None:
    """Write a name beside each point, (N, 2), inside the axes; leave out those without room."""
    axes.get_figure().draw_without_rendering()  # settles where the points are
    area = axes.get_window_extent()
    spots = axes.transData.transform(points) - area.min
    scale = axes.get_figure().dpi / 72  # pixels of a point, the unit of fonts
    sizes = [(scale * (0.6 * _LABEL * len(name) + 4), scale * 1.4 * _LABEL) for name in names]
    for reach in (5, 17, 29):  # farther from the points if there is no room for all
        boxes = np.hstack([spots - reach * scale, spots + reach * scale])
        places = label_places(boxes, sizes, area.size)
        if None not in places:
            break
    for name, size, place in zip(names, sizes, places, strict=True):
        if place is not None:
            middle = np.add(place, np.divide(size, 2)) + area.min
            at = axes.transData.inverted().transform(middle)
            axes.text(*at, name, ha="center", va="center", fontsize=_LABEL)


def as_svg(
    name: str,
    text: str,
    draw: Callable[..., None],
    columns: int = 1,
    rows: int = 1,
    height: float = 3.6,
) -> str:
    """Return a chart with a name of its own on the page and a text for those who do not see it.

    Args:
        name: the name, a part of each id in the SVG.
        text: the text.
        draw: draws into the axes that it is given, row by row.
        columns, rows: how many axes.
        height: of a row, in inches.
    """
    with (
        matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}),
        warnings.catch_warnings(action="ignore", category=UserWarning),  # fonts, of the browser
    ):
        size = (4.2 * columns if columns > 1 else 7, height * rows)
        figure = Figure(figsize=size, layout="constrained")
        figure.get_layout_engine().set(hspace=0.08)
        draw(*figure.subplots(rows, columns, squeeze=False).flat)
        content = io.StringIO()
        no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(content, format="svg", transparent=True, metadata=no_metadata)
    svg = content.getvalue()[content.getvalue().index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    label = escape(text)
    return re.sub(
        r'<svg .*?viewBox="([^"]*)".*?>',
        rf'<svg class="chart columns-{columns}" viewBox="\1" role="img" aria-label="{label}">',
        svg.replace("xlink:href", "href"),
        count=1,
        flags=re.DOTALL,
    )


def _named(name: str, classes: Sequence[str]) -> dict:
    """Return how to draw the curve of a class. Matplotlib hides names that begin with `_`."""
    if len(classes) > LEGEND:
        return {"color": "#808890", "alpha": 0.5, "linewidth": 0.8}
    return {"label": f"\u200b{name[:30]}", "linewidth": 1.2}
