"""The table that compares all runs: how well their models detect, their size and their speed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from detmake.artifacts import write_text

#: Columns of the Markdown table that hold figures, with their headers and formats.
_FIGURES = {
    "f-measure": ("F-measure", ".3f"),
    "mAP": ("mAP", ".3f"),
    "mAP50": ("mAP50", ".3f"),
    "size_mb": ("size [MB]", ".1f"),
    "latency_ms": ("latency [ms]", ".1f"),
    "images_per_second": ("throughput [images/s]", ".1f"),
}


def table(models: Sequence[Mapping[str, Any]], speed: pd.DataFrame) -> pd.DataFrame:
    """One row for each model, in the order given.

    Args:
        models: each with `run`, `template` and `precision` (text), `path` (`weights.pth` or a model
            folder) and `performance` (path of its `performance.json`).
        speed: `latency_ms` and `images_per_second` by `path` (`detmake.evaluation.speed.measure`).

    Returns:
        `run`, `template`, `precision`; `f-measure`, `mAP`, `mAP50` in [0, 1] and `subset`, the
        annotation file that they were measured on; `size_mb` in 10⁶ bytes; `latency_ms` and
        `images_per_second`.
    """
    rows = []
    for model in models:
        performance = json.loads(Path(model["performance"]).read_text(encoding="utf-8"))
        rows.append(
            {
                **{key: model[key] for key in ("run", "template", "precision")},
                **{key: performance[key] for key in ("f-measure", "mAP", "mAP50")},
                "subset": performance["annotations"],
                "size_mb": size_mb(Path(model["path"])),
                **speed.loc[model["path"], ["latency_ms", "images_per_second"]],
            }
        )
    return pd.DataFrame(rows)


def size_mb(path: Path) -> float:
    """Size in 10⁶ bytes of a snapshot's file, or of `.xml` and `.bin` in a model folder."""
    files = [path / "openvino.xml", path / "openvino.bin"] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files) / 1e6


def write(table: pd.DataFrame, csv: Path, markdown: Path, conditions: str) -> None:
    """Write a comparison (`table`), each file whole or not at all.

    Args:
        table: the comparison.
        csv: receives all columns under their names.
        markdown: receives the table for readers, with a note on how its figures came about.
        conditions: on what the speed was measured: images, CPU and threads, as it shall read there.
    """
    text = _markdown(table, conditions)
    write_text(csv, table.to_csv(index=False, float_format="%.6g"))
    write_text(markdown, text)


def _markdown(table: pd.DataFrame, conditions: str) -> str:
    names = ["run", "template", "precision"]
    subsets = table["subset"].unique()
    note = f"Latency (one image at a time) and throughput (any number at a time) on {conditions}."
    if len(subsets) == 1:
        note = f"F-measure, mAP and mAP50 on `{subsets[0]}`. {note}"
    else:  # figures of models that were measured on different images do not compare
        names.append("subset")
    headers = {key: header for key, (header, _) in _FIGURES.items()}
    formats = [style for _, style in _FIGURES.values()]
    body = table[[*names, *headers]].rename(columns=headers)
    body = body.to_markdown(
        index=False,
        floatfmt=(*[""] * len(names), *formats),
        disable_numparse=list(range(len(names))),  # a run may be called 007 or 1e5
    )
    return f"{body}\n\n{note}\n"
