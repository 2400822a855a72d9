"""The end of a search: its trials as a table and a picture, and the best one as a configuration."""

import shlex
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from matplotlib.axes import Axes

from detmake.artifacts import write_text
from detmake.errors import InputError
from detmake.markdown_text import escaped
from detmake.report import charts

#: Outcomes of the last rung, better than those of the rungs before.
BEST, FINALIST, TOO_SLOW, FAILED = "best", "finalist", "too slow", "failed"
#: Characters of a reason in the table for readers.
_REASON = 100


def table(
    search: Mapping[str, Any],
    drawn: Mapping[str, Mapping[str, Any]],
    rankings: Sequence[pd.DataFrame],
    finalists: pd.DataFrame,
) -> pd.DataFrame:
    """Return a row for each trial, the best one first.

    Args:
        search: the section `search` of the configuration.
        drawn: the drawn values of each trial, by key.
        rankings: what `detmake.build.trials.rank` returned for each rung but the last.
        finalists: of each trial of the last rung, the figures on the validation subset of the
            snapshot (`f-measure`, `mAP50`) and of its int8 model (`int8 f-measure`, `int8 mAP50`),
            `epochs`, `latency_ms`, `minutes` and, if it failed, why (`failed`).

    Returns:
        `trial`; the drawn values; `outcome`; `epochs` (of one that failed, those of its rung);
        `snapshot` and `int8`, the objective of each, in [0, 1]; `latency_ms`; `minutes` of
        training; `failed`, the reason.
    """
    objective, limit = search["objective"], search.get("at_most", {}).get("latency_ms")
    rows: dict[str, dict[str, Any]] = {}
    for rung, ranking in zip(search["rungs"], [*rankings, finalists], strict=True):
        for row in ranking.astype(object).where(ranking.notna(), None).to_dict("records"):
            before = rows.pop(row["trial"], {})  # a later rung's trials come last
            rows[row["trial"]] = {
                "trial": row["trial"],
                **drawn[row["trial"]],
                "outcome": row.get("outcome"),
                "epochs": int(row.get("epochs") or rung),
                "snapshot": row.get(objective),
                "int8": row.get(f"int8 {objective}"),
                "latency_ms": row["latency_ms"],
                "minutes": (before.get("minutes") or 0) + (row.get("minutes") or 0),
                "failed": row["failed"],
            }
    able = []
    for trial in finalists["trial"]:
        row = rows[trial]
        if row["failed"]:
            row["outcome"] = FAILED
        elif limit is not None and row["latency_ms"] > limit:
            row["outcome"] = TOO_SLOW
        else:
            row["outcome"] = FINALIST
            able.append(row)
    if able:
        max(able, key=lambda row: row["int8"])["outcome"] = BEST
    order = [BEST, FINALIST, "stopped", TOO_SLOW, FAILED]
    ranked = sorted(
        rows.values(),
        key=lambda row: (
            order.index(row["outcome"]),
            -row["epochs"],
            -(row["int8"] or row["snapshot"] or 0),
        ),
    )
    return pd.DataFrame(ranked)


def best(trials: pd.DataFrame) -> str:
    """Return the name of the best trial.

    Raises:
        InputError: no trial of the last rung succeeded within the limits.
    """
    if trials["outcome"].iloc[0] != BEST:
        found = "Every trial of the last rung failed"
        remedy = "Change what made them fail, or search.space."
        # Trials of earlier rungs may be too slow, too, but have no figures of int8.
        if (trials["outcome"].eq(TOO_SLOW) & trials["int8"].notna()).any():
            found = "No trial of the last rung is a model within search.at_most"
            remedy = "Raise search.at_most, or change search.space."
        raise InputError(f"{found}:\n{markdown(trials)}\n{remedy} What was trained is kept.")
    return trials["trial"].iloc[0]


def markdown(trials: pd.DataFrame) -> str:
    """Return the table for readers: reasons are cut short, and stand beside the outcome."""
    shown = trials.astype(object).where(trials.notna(), None)
    shown["outcome"] = [
        f"{outcome}: {escaped(reason[:_REASON])}" if reason else outcome
        for outcome, reason in zip(shown["outcome"], shown.pop("failed"), strict=True)
    ]
    formats = {"snapshot": ".3f", "int8": ".3f", "latency_ms": ".1f", "minutes": ".1f"}
    return shown.rename(columns={"latency_ms": "latency [ms]"}).to_markdown(
        index=False,
        missingval="",
        floatfmt=[formats.get(column, "g") for column in trials.columns if column != "failed"],
        disable_numparse=[0],
    )


def configuration(
    trial: Mapping[str, Any],
    content: Mapping[str, Any],
    search: Mapping[str, Any],
    file: Path,
    measured_on: str,
) -> str:
    """Return a configuration file that builds a trial without the search.

    Args:
        trial: its row of `table`.
        content: the configuration.
        search: the section `search`.
        file: where it will be.
        measured_on: the CPU and its threads.
    """
    drawn = ", ".join(f"{key} {trial[key]}" for key in search["space"])
    return (
        f"# Trial {trial['trial']} of a search: {drawn}.\n"
        f"# Its int8 model: {search['objective']} {trial['int8']:.3f} on val, "
        f"{trial['latency_ms']:.1f} ms an image on {measured_on}.\n"
        f"# Build it, without the search: snakemake --configfile {shlex.quote(str(file))}\n"
        + yaml.safe_dump(
            dict(content), sort_keys=False, allow_unicode=True, default_flow_style=None
        )
    )


def picture(trials: pd.DataFrame, objective: str) -> str:
    """Draw accuracy against latency as SVG, and join the finalists that no other one beats.

    Finalists are drawn by their int8 model, the others by their snapshot and a brief measurement.
    """
    measured = trials[trials["latency_ms"].notna()]
    last = measured[measured["int8"].notna()]
    others = measured[measured["int8"].isna() & measured["snapshot"].notna()]
    front = charts.best(last.rename(columns={"int8": "f-measure"}))
    points = pd.concat([last, others])
    points["accuracy"] = points["int8"].fillna(points["snapshot"])
    names = points["trial"] + np.where(points["outcome"] == BEST, " best", "")

    def draw(axes: Axes) -> None:
        axes.plot(front["latency_ms"], front["f-measure"], color="C0", alpha=0.5)
        axes.scatter(last["latency_ms"], last["int8"], color="C0", label="int8, all epochs")
        for marker, (epochs, stopped) in zip(cycle("x+1"), others.groupby("epochs"), strict=False):
            axes.scatter(
                *(stopped["latency_ms"], stopped["snapshot"]),
                color="#808890",
                marker=marker,
                label=f"snapshot, stopped after {epochs} epochs",
            )
        axes.set(xlabel="latency of one image, int8 [ms]", ylabel=f"{objective} on val")
        axes.margins(x=0.15, y=0.2)
        axes.get_figure().legend(fontsize="small", loc="outside lower center", ncols=2)
        charts.label_points(axes, points[["latency_ms", "accuracy"]].to_numpy(), list(names))

    text = f"{objective} on val against latency of {len(points)} trials."
    return charts.standalone(charts.as_svg("search", text, draw, height=5))


def write(
    trials: pd.DataFrame, objective: str, csv: Path, md: Path, svg: Path, measured_on: str
) -> None:
    """Write the table for programs and for readers, and the picture.

    Args:
        trials: the table.
        objective: the figure that decides.
        csv, md, svg: the files.
        measured_on: the CPU that measured the trials of the last rung, and its threads.
    """
    write_text(csv, trials.to_csv(index=False, float_format="%.6g"))
    note = (
        f"`snapshot` and `int8`: {objective} on val. Latency of one image on {measured_on}; of "
        "trials that were stopped, with a model that was quantized briefly (`latency.csv`)."
    )
    write_text(md, f"{markdown(trials)}\n\n{note}\n")
    write_text(svg, picture(trials, objective))
