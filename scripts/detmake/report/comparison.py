"""Tables of measured models: the comparison of all runs, and the benchmark of one run."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from detmake import csv_text
from detmake.artifacts import write_text
from detmake.report import charts, tables

#: Figures of the benchmark.
_BENCHMARK = (
    *("latency_ms", "latency_p95_ms", "images_per_second"),
    *("app_latency_ms", "app_images_per_second", "share"),
)


def table(models: Sequence[Mapping[str, Any]], speed: pd.DataFrame) -> pd.DataFrame:
    """Return the comparison, one row per model, in the order given.

    Args:
        models: each with `run`, `template` and `model` (text), `path` (`weights.pth` or a model
            folder) and `performance` (path of its `performance.json`).
        speed: what `detmake.runtime.speed.measure` returns, by `path`.

    Returns:
        `run`, `template`, `model`; if one of them looks at tiles, `tiles`, their size
        ("416×320", in pixels; empty: whole images); `f-measure`, `mAP50`, `mAP` in [0, 1] and
        `subset`, the annotation file that they were measured on; `size_mb` in 10⁶ bytes;
        `latency_ms` and `images_per_second`.
    """
    names, rows = ["run", "template", "model"], []
    for model in models:
        performance = json.loads(Path(model["performance"]).read_text(encoding="utf-8"))
        measured = {
            "subset": performance["annotations"],
            "tiles": "×".join(map(str, performance.get("tiling", {}).get("size", ()))),
            "size_mb": size_mb(Path(model["path"])),
        }
        own = {name: model[name] for name in names}  # last: a metric may have one of these names
        rows.append({**performance, **measured, **speed.loc[model["path"]], **own})
    compared = pd.DataFrame(rows)
    tiles = ["tiles"] if compared["tiles"].any() else []
    return compared[[*names, *tiles, *tables.ACCURACY, "subset", *tables.COSTS]]


def size_mb(path: Path) -> float:
    """Return the size of a snapshot, or of the IR in a model folder, in 10⁶ bytes."""
    files = [path / "openvino.xml", path / "openvino.bin"] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files) / 1e6


def write(table: pd.DataFrame, files: Mapping[str, Path], conditions: str) -> None:
    """Write a comparison (`table`): all columns as CSV, and for readers Markdown and a chart.

    Args:
        table: the comparison.
        files: `csv`; `md`, which ends with a note on how the models were measured; and `svg`, the
            chart of accuracy against latency, which the Markdown shows.
        conditions: images, CPU and threads of the speed measurement, for the note.
    """
    names = [name for name in ("run", "template", "model", "tiles") if name in table]
    subsets = table["subset"].unique()
    note = f"Latency (one image at a time) and throughput (several at a time) on {conditions}."
    if len(subsets) == 1:
        note = f"{', '.join(tables.headings(tables.ACCURACY))} on `{subsets[0]}`. {note}"
    else:  # metrics measured on different images do not compare
        names.append("subset")
    text = tables.markdown(table, [*names, *tables.ACCURACY, *tables.COSTS])
    chart = charts.standalone(charts.accuracy_against_latency(table))
    picture = f"![F-measure against latency]({files['svg'].name})\n\n{charts.BEST}"
    write_text(files["csv"], csv_text.of_table(table, index=False, float_format="%.6g"))
    write_text(files["svg"], chart)
    write_text(files["md"], f"{text}\n\n{note}\n\n{picture}\n")


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
