"""Tables of measured models: the comparison of all runs, and the benchmark of one run."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from detmake.artifacts import write_text

#: Figures of the comparison, with their headers and formats in Markdown. A key is one of
#: `performance.json`, `size_mb`, or a column of `detmake.runtime.speed.measure`.
_COMPARISON = {
    "f-measure": ("F-measure", ".3f"),
    "mAP": ("mAP", ".3f"),
    "mAP50": ("mAP50", ".3f"),
    "size_mb": ("size [MB]", ".1f"),
    "latency_ms": ("latency [ms]", ".1f"),
    "images_per_second": ("throughput [images/s]", ".1f"),
}
#: Figures of the benchmark, likewise.
_BENCHMARK = {
    "latency_ms": ("latency [ms]", ".1f"),
    "latency_p95_ms": ("95th percentile [ms]", ".1f"),
    "images_per_second": ("throughput [images/s]", ".1f"),
    "app_latency_ms": ("benchmark_app: latency [ms]", ".1f"),
    "app_images_per_second": ("benchmark_app: throughput [images/s]", ".1f"),
    "share": ("throughput / benchmark_app's", ".2f"),
}


def table(models: Sequence[Mapping[str, Any]], speed: pd.DataFrame) -> pd.DataFrame:
    """Return the comparison, one row per model, in the order given.

    Args:
        models: each with `run`, `template` and `model` (text), `path` (`weights.pth` or a model
            folder) and `performance` (path of its `performance.json`).
        speed: what `detmake.runtime.speed.measure` returns, by `path`.

    Returns:
        `run`, `template`, `model`; if one of them looks at tiles, `tiles`, their size
        ("416×320", in pixels; empty: whole images); `f-measure`, `mAP`, `mAP50` in [0, 1] and
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
    accuracy = ["f-measure", "mAP", "mAP50", "subset"]
    costs = ["size_mb", "latency_ms", "images_per_second"]
    compared = pd.DataFrame(rows)
    tiles = ["tiles"] if compared["tiles"].any() else []
    return compared[[*names, *tiles, *accuracy, *costs]]


def size_mb(path: Path) -> float:
    """Return the size of a snapshot, or of the IR in a model folder, in 10⁶ bytes."""
    files = [path / "openvino.xml", path / "openvino.bin"] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files) / 1e6


def write(table: pd.DataFrame, csv: Path, markdown: Path, conditions: str) -> None:
    """Write a comparison (`table`) as CSV, with all columns, and as Markdown for readers.

    Args:
        table: the comparison.
        csv: the CSV file.
        markdown: the Markdown file, which ends with a note on how the models were measured.
        conditions: images, CPU and threads of the speed measurement, for the note.
    """
    names = [name for name in ("run", "template", "model", "tiles") if name in table]
    subsets = table["subset"].unique()
    note = f"Latency (one image at a time) and throughput (several at a time) on {conditions}."
    if len(subsets) == 1:
        note = f"F-measure, mAP and mAP50 on `{subsets[0]}`. {note}"
    else:  # metrics measured on different images do not compare
        names.append("subset")
    text = _markdown(table, names, _COMPARISON)
    write_text(csv, table.to_csv(index=False, float_format="%.6g"))
    write_text(markdown, f"{text}\n\n{note}\n")


def write_benchmark(table: pd.DataFrame, csv: Path, markdown: Path, conditions: str) -> str:
    """Write a benchmark as CSV and as Markdown.

    Args:
        table: what `detmake.runtime.speed.measure` returns, joined with what
            `detmake.evaluation.benchmark_app.measure` returns.
        csv: receives all columns, and `share`, the throughput as a share of benchmark_app's.
        markdown, conditions: as for `write`.

    Returns:
        The table for readers.
    """
    table = table.assign(share=table["images_per_second"] / table["app_images_per_second"])
    readable = table.rename_axis("model").reset_index().astype(object)
    readable = readable.where(readable.notna(), None)  # benchmark_app does not run snapshots
    text = _markdown(readable, ["model"], _BENCHMARK)
    write_text(csv, table.to_csv(float_format="%.6g"))
    write_text(markdown, f"{text}\n\nMedians, models in turns, on {conditions}.\n")
    return text


def _markdown(
    table: pd.DataFrame, names: Sequence[str], figures: Mapping[str, tuple[str, str]]
) -> str:
    headers = {key: header for key, (header, _) in figures.items()}
    body = table[[*names, *headers]].rename(columns=headers)
    return body.to_markdown(
        index=False,
        missingval="",
        floatfmt=(*[""] * len(names), *(style for _, style in figures.values())),
        disable_numparse=list(range(len(names))),  # a run may be called 007 or 1e5
    )
