"""The report of a run: one HTML page that needs nothing else."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from detmake.data import statistics
from detmake.detections import Detections
from detmake.evaluation import agreement, error_types, label_errors
from detmake.evaluation.confusion import confusion_matrix
from detmake.evaluation.missed import smallest_quarter
from detmake.evaluation.overlaps import overlaps
from detmake.report import advice, charts, gallery, model_card, plan_drawing, tables
from detmake.report.run import Model, Run

log = logging.getLogger("detmake")

#: Classes up to which the page shows the whole confusion matrix, and confusions that it lists.
_MATRIX, _CONFUSIONS = 20, 20
_BUDGET = ("drop_points", "maximal_accuracy_degradation")
#: Images that the page lists where two models differ.
_DIFFERENT = 10


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        html: the page.
        verdict: its first lines, for a terminal.
        suspects: suspected label errors (`detmake.evaluation.label_errors.suspects`).
    """

    html: str
    verdict: str
    suspects: pd.DataFrame


def render(run: Run, assets: Path, provenance: Mapping[str, Any]) -> Page:
    """Write the report of a run from what there is; no model runs.

    Args:
        run: the run.
        assets: folder of the template `report.html`, and of `report.css` and `report.js`.
        provenance: `settings` (all, line by line), `changed` (those that differ from the
            defaults), `command`, and `steps` (`detmake.build.provenance.steps`, and `command`).
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(assets),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    context, suspects = {}, pd.DataFrame(columns=label_errors.COLUMNS)
    if run.models:
        context, suspects = _of_models(run)
    described = run.json("dataset/statistics.json")
    scalars = run.table("logs/scalars.csv")
    html = environment.get_template("report.html").render(
        run=run,
        verdict=advice.verdict(run.models),
        training=None if scalars is None else charts.training(scalars),
        tables=statistics.tables(described) if described else [],
        remarks=statistics.remarks(described) if described else [],
        batch=gallery.data_uri(run.batch.read_bytes()) if run.batch.exists() else None,
        provenance=provenance,
        steps=_drawn(run, provenance["steps"]),
        trained=run.json("logs/train.json"),
        **context,
    )
    lines = [advice.verdict(run.models)]
    if run.models:
        table = pd.DataFrame(
            [
                {"model": model.name, **model.figures, "budget": advice.passed(model.quantization)}
                for model in run.models
            ]
        )
        columns = ["model", *tables.ACCURACY, *tables.COSTS, "budget"]
        lines.append(tables.markdown(table, columns))
    return Page(html, "\n".join(lines), suspects)


def _of_models(run: Run) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return what the page says about the models of a run, and the suspects."""
    first, coco = run.models[0], run.coco
    names = first.evaluation.classes
    root = Path(coco["info"]["image_root"])
    subset = run.folder / "dataset" / next(iter(first.performance["sha256"]["subset"]))
    everything = [overlaps(coco, model.evaluation.detections) for model in run.models]
    confident = overlaps(coco, first.evaluation.detections, first.threshold)
    errors = error_types.costs(everything[0], len(names))
    log.info("Errors of the %s: %s costs most", first.name, errors.cost.idxmax())
    suspects = label_errors.suspects(everything, first.threshold)
    log.info("%d suspected label errors", len(suspects))
    worst = gallery.worst_images(confident, root, names)
    log.info("%d images with errors in the gallery", len(worst))
    matrix = confusion_matrix(confident, len(names))
    measured = pd.DataFrame([_point(model) for model in run.models if model.speed])
    table = first.evaluation.per_class(first.threshold).join(
        first.evaluation.average_precision_by_size()
    )
    table = table.join(smallest_quarter(confident, names))
    table["ap"] = [first.evaluation.average_precision(None, k) for k in range(len(names))]
    shown = suspects.head(gallery.CUTOUTS).astype(object)
    cut = gallery.cutouts(suspects, root)
    context = {
        "first": first,
        "names": names,
        "colours": gallery.colours(names),
        "rows": [_row(model, first) for model in run.models],
        "headings": tables.headings,
        "accuracy": tables.ACCURACY,
        "costs": tables.COSTS,
        "latency": None if measured.empty else charts.accuracy_against_latency(measured),
        "best": f"{charts.BEST} {charts.INTERVALS}",
        "named_curves": len(names) <= charts.LEGEND,
        "confidence": charts.confidence(first.evaluation, first.threshold),
        "precision_recall": charts.precision_recall(first.evaluation),
        "matrix": matrix.tolist() if len(names) <= _MATRIX else None,
        "confusions": _confusions(matrix, [*names, "background"]),
        "classes": table.astype(object).where(table.notna(), None).to_dict("index"),
        "class_remarks": advice.classes(table),
        "errors": errors.to_dict("index"),
        "error_costs": charts.error_costs(errors),
        "error_words": advice.ERRORS,
        "worst": worst,
        "image_root": root,
        "overlap": model_card.overlap_of(subset),
        "with_errors": int((gallery.image_costs(confident) > 0).sum()),
        "suspects": list(
            zip(shown.where(shown.notna(), None).to_dict("records"), cut, strict=True)
        ),
        "suspect_count": len(suspects),
        "agreements": [_agreement(run, model, root) for model in run.models[1:]],
    }
    return context, suspects


def _row(model: Model, first: Model) -> dict[str, Any]:
    """Return what the table of the verdict says of a model, as text."""
    figures = {key: tables.written(key, value) for key, value in model.figures.items()}
    lost = ""
    if model.quantization:
        drop, budget = (model.quantization[key] for key in _BUDGET)
        lost = f"{drop:z.2f} of {budget:g} points".replace("-", "−")
    return {
        "name": model.name,
        "figures": figures,
        "intervals": {key: tables.written_interval(*ends) for key, ends in model.intervals.items()},
        "difference": advice.difference(model, first),
        "passed": advice.passed(model.quantization),
        "lost": lost,
    }


def _point(model: Model) -> dict[str, Any]:
    """Return a model as `charts.accuracy_against_latency` takes it."""
    low, high = model.intervals["f-measure"]
    return {
        "model": model.name,
        **model.figures,
        "f-measure_low": low,
        "f-measure_high": high,
    }


def _confusions(matrix: Any, names: list[str]) -> list[tuple[str, str, int]]:
    """Return the most frequent confusions of two classes: annotated, found, how often."""
    counts = [
        (names[row], names[column], int(matrix[row, column]))
        for row in range(len(matrix) - 1)
        for column in range(len(matrix) - 1)
        if row != column and matrix[row, column]
    ]
    return sorted(counts, key=lambda item: -item[2])[:_CONFUSIONS]


def _agreement(run: Run, model: Model, root: Path) -> dict[str, Any]:
    """Compare a model with the first one."""
    both = run.models[0], model
    found = [one.evaluation.detections for one in both]
    thresholds = both[0].threshold, model.threshold
    table = agreement.agreement(run.coco["images"], *found, thresholds)
    images = {image["id"]: image for image in run.coco["images"]}
    differing = table.assign(other=table.first_only + table.second_only)
    differing = differing[differing.other > 0].sort_values("other", ascending=False, kind="stable")
    share = agreement.share(table)
    log.info("%s: %.1f %% of the boxes of the %s", model.name, 100 * share, both[0].name)
    worst = None
    if len(differing):
        key = differing.index[0]
        here = [one.get(key, Detections.none()) for one in found]
        names = both[0].evaluation.classes
        compared = agreement.compare(*here, thresholds)
        worst = gallery.difference(images[key], compared, root, names)
    return {
        "name": model.name,
        "share": share,
        "worst": worst,
        "images": [
            {
                "name": images[row.Index]["file_name"],
                "first": row.first_only,
                "second": row.second_only,
            }
            for row in differing.head(_DIFFERENT).itertuples()
        ],
    }


def _drawn(run: Run, steps: Sequence[Mapping[str, Any]]) -> str | None:
    """Return a picture of the steps that made a run's results, as a data URI; None without any."""
    if not steps:
        return None
    svg = plan_drawing.of_steps(steps, f"Steps to {run.folder}", "Each with the time that it took")
    return gallery.data_uri(svg.encode(), "image/svg+xml")
