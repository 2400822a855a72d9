"""Tables of measured models: the comparison of all runs, and the benchmark of one run."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from detmake import csv_text
from detmake.artifacts import write_text
from detmake.data import subsets
from detmake.report import advice, charts, model_card, run, tables
from detmake.report.run import Model

_ENDS = ("low", "high")
_AGAINST_BEST = "F-measure against the best"
#: Figures of the benchmark.
_BENCHMARK = (
    *("latency_ms", "latency_p95_ms", "images_per_second"),
    *("app_latency_ms", "app_images_per_second", "share"),
)


def table(models: Sequence[Mapping[str, Any]], speed: pd.DataFrame) -> pd.DataFrame:
    """Return the comparison, one row per model, in the order given.

    Args:
        models: each with `run`, `template` and `model` (text), `path` (`weights.pth` or a model
            folder), `performance` (path of its `performance.json`, beside its `predictions.json`)
            and `subset` (path of the prepared subset that it was measured on).
        speed: what `detmake.runtime.speed.measure` returns, by `path`.

    Returns:
        `run`, `template`, `model`; if one of them looks at tiles, `tiles`, their size
        ("416×320", in pixels; empty: whole images); `f-measure`, `mAP50`, `mAP` in [0, 1], each
        with the ends of its 95 % interval (`f-measure_low`, `f-measure_high`); `subset` and
        `subset_sha256`, the annotation file and the subset that they were measured on, and the
        digest of this prepared subset; `size_mb` in 10⁶ bytes; `latency_ms` and
        `images_per_second`; `against_best`, in words, how far the F-measure is from the best one
        of the same digest, and whether that is more than noise.
    """
    measured = [
        run.read_model(
            model["model"],
            Path(model["path"]),
            Path(model["performance"]),
            subsets.read(Path(model["subset"])),
            speed.loc[model["path"]],
        )
        for model in models
    ]
    files, digests = zip(*(_subset(model) for model in measured), strict=True)
    best: dict[str, Model] = {}
    for digest, model in zip(digests, measured, strict=True):
        first = best.setdefault(digest, model)
        if model.performance["f-measure"] > first.performance["f-measure"]:
            best[digest] = model
    rows = [
        {
            **{key: named[key] for key in ("run", "template", "model")},
            "tiles": "×".join(map(str, model.performance.get("tiling", {}).get("size", ()))),
            "subset": f"{model.performance['annotations']} ({Path(file).stem})",
            "subset_sha256": digest,
            **model.figures,
            **{
                f"{key}_{end}": value
                for key, ends in model.intervals.items()
                for end, value in zip(_ENDS, ends, strict=True)
            },
            "against_best": advice.difference(model, best[digest]),
        }
        for named, model, file, digest in zip(models, measured, files, digests, strict=True)
    ]
    compared = pd.DataFrame(rows)
    tiles = ["tiles"] if compared["tiles"].any() else []
    accuracy = [f"{key}{end}" for key in tables.ACCURACY for end in ("", "_low", "_high")]
    columns = ["run", "template", "model", *tiles, *accuracy, "subset", "subset_sha256"]
    return compared[[*columns, *tables.COSTS, "against_best"]]


def _subset(model: Model) -> tuple[str, str]:
    """Return the name and the SHA-256 of the file of the prepared subset of a model's figures."""
    (named,) = model.performance["sha256"]["subset"].items()
    return named


def warnings(models: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what makes figures better than those of other images (`model_card.overlap`).

    Args:
        models: as for `table`.

    Returns:
        Each warning once. It names its runs if the others do not have it.
    """
    subset_of = {model["run"]: Path(model["subset"]) for model in models}
    runs: dict[str, list[str]] = {}
    for name, subset in subset_of.items():
        runs.setdefault(model_card.overlap_of(subset), []).append(name)
    return [
        warning if len(names) == len(subset_of) else f"{', '.join(names)}: {warning}"
        for warning, names in runs.items()
        if warning
    ]


def write(
    table: pd.DataFrame, files: Mapping[str, Path], conditions: str, warned: Iterable[str] = ()
) -> None:
    """Write a comparison (`table`): all columns as CSV, and for readers Markdown and a chart.

    Args:
        table: the comparison.
        files: `csv`; `md`, which ends with a note on how the models were measured; and `svg`, the
            chart of accuracy against latency, which the Markdown shows.
        conditions: images, CPU and threads of the speed measurement, for the note.
        warned: what readers of the figures must know (`warnings`).
    """
    names = [name for name in ("run", "template", "model", "tiles") if name in table]
    note = (
        "In parentheses: 95 % intervals over images (bootstrap). Two models differ beyond noise "
        "only if the interval of their difference, on the same images, leaves out zero. "
        f"Latency (one image at a time) and throughput (several at a time) on {conditions}."
    )
    if (digests := table["subset_sha256"].nunique()) == 1:
        note = f"{', '.join(tables.headings(tables.ACCURACY))} on `{table['subset'][0]}`. {note}"
    else:
        note = f"Figures on different subsets do not compare. {note}"
        names.append("subset")
        if table["subset"].nunique() < digests:  # as of splits with different seeds
            short = table["subset_sha256"].str[:8]
            table = table.assign(subset=table["subset"] + ", SHA-256 " + short + "…")
    columns = [*names, *tables.ACCURACY, _AGAINST_BEST, *tables.COSTS]
    text = tables.markdown(table.rename(columns={"against_best": _AGAINST_BEST}), columns)
    chart = charts.standalone(charts.accuracy_against_latency(table))
    picture = f"![F-measure against latency]({files['svg'].name})\n\n{charts.BEST}"
    write_text(files["csv"], csv_text.of_table(table, index=False, float_format="%.6g"))
    write_text(files["svg"], chart)
    bold = [f"**{warning}**" for warning in warned]
    paragraphs = [text, *bold, note, f"{picture} {charts.INTERVALS}"]
    write_text(files["md"], "\n\n".join(paragraphs) + "\n")


def write_benchmark(table: pd.DataFrame, csv: Path, markdown: Path, conditions: str) -> str:
    """Write a benchmark as CSV and as Markdown.

    Args:
        table: what `detmake.runtime.speed.measure` returns, joined with what
            `detmake.evaluation.benchmark_app.measure` returns.
        csv: receives all columns, and `share`, the throughput as a share of benchmark_app's.
        markdown: the Markdown file, which ends with a note on how the models were measured.
        conditions: as for `write`.

    Returns:
        The table for readers.
    """
    table = table.assign(share=table["images_per_second"] / table["app_images_per_second"])
    text = tables.markdown(table.rename_axis("model").reset_index(), ["model", *_BENCHMARK])
    write_text(csv, table.to_csv(float_format="%.6g"))
    write_text(markdown, f"{text}\n\nMedians, models in turns, on {conditions}.\n")
    return text
