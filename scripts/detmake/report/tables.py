"""How tables write figures: report, comparison and benchmark name and round them alike."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from detmake.markdown_text import escaped

#: Heading and format of each figure, by the keys of `performance.json` and the columns of
#: `detmake.evaluation.speed.measure` and `detmake.evaluation.benchmark_app.measure`.
FIGURES = {
    "f-measure": ("F-measure", ".3f"),
    "mAP50": ("mAP50", ".3f"),
    "mAP": ("mAP50:95", ".3f"),
    "size_mb": ("size [MB]", ".1f"),
    "latency_ms": ("latency [ms]", ".1f"),
    "latency_p95_ms": ("95th percentile [ms]", ".1f"),
    "images_per_second": ("throughput [images/s]", ".1f"),
    "app_latency_ms": ("benchmark_app: latency [ms]", ".1f"),
    "app_images_per_second": ("benchmark_app: throughput [images/s]", ".1f"),
    "share": ("throughput / benchmark_app's", ".2f"),
}
#: Figures of each model in the report and the comparison. The ends of the interval of `mAP50`, if
#: it is known, are `mAP50_low` and `mAP50_high`, and likewise for the others.
ACCURACY = ("f-measure", "mAP50", "mAP")
COSTS = ("size_mb", "latency_ms", "images_per_second")
_MISSING = "–"


def written(key: str, value: float | None) -> str:
    """Return a figure as text: a dash if there is none (None or NaN)."""
    return _MISSING if pd.isna(value) else format(value, FIGURES[key][1])


def written_interval(low: float, high: float) -> str:
    """Return an interval of a figure of accuracy as text."""
    return f"{low:.3f}–{high:.3f}"


def headings(keys: Iterable[str]) -> list[str]:
    """Return the headings of columns; one that is no figure is its own heading."""
    return [FIGURES[key][0] if key in FIGURES else key for key in keys]


def markdown(table: pd.DataFrame, columns: Sequence[str]) -> str:
    """Return some columns as Markdown: text to the left, figures to the right, rounded.

    The interval of a figure, if it is known, follows in parentheses.
    """

    def cell(key: str, row: Mapping[str, Any]) -> str:
        if key not in FIGURES:
            return escaped(str(row[key]))
        if f"{key}_low" not in row:
            return written(key, row[key])
        interval = written_interval(row[f"{key}_low"], row[f"{key}_high"])
        return f"{written(key, row[key])} ({interval})"

    rows = [[cell(key, row) for key in columns] for row in table.to_dict("records")]
    return pd.DataFrame(rows, columns=headings(columns)).to_markdown(
        index=False,
        disable_numparse=True,  # a run may be called 007 or 1e5
        colalign=["right" if key in FIGURES else "left" for key in columns],
    )
