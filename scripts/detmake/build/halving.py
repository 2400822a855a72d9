"""Which trials of a hyper-parameter search go on.

Successive halving (Jamieson and Talwalkar, 2016): all trials train for a few epochs, the better
ones go on to the next rung, and so on. The word and the factor of 3 are of ASHA (Li et al., 2020).
"""

import csv
import math
from collections.abc import Iterable, Mapping
from typing import Any

#: Of so many trials of a rung, one goes on.
FACTOR = 3
#: The outcome of a trial that the next rung trains.
GOES_ON = "goes on"


def promoted(scores: Mapping[str, float | None]) -> list[str]:
    """Return which trials of a rung go on, the best first: a third of them, rounded up.

    Args:
        scores: the objective of each trial; None for one that cannot go on, and yet counts.
    """
    able = [trial for trial, score in scores.items() if score is not None]
    ranked = sorted(able, key=lambda trial: (-scores[trial], trial))
    return ranked[: math.ceil(len(scores) / FACTOR)]


def rank(
    outcomes: Mapping[str, Mapping[str, Any]],
    latencies: Mapping[str, Mapping[str, Any]],
    objective: str,
    at_most: float | None,
) -> list[dict[str, Any]]:
    """Return a row for each trial of a rung: those that go on, best first, and then the others.

    Args:
        outcomes: what each trial came to: its figures on the validation subset and `minutes`, or
            the reason why it `failed`.
        latencies: of each trial, `latency_ms`, or why its measurement `failed`.
        objective: the figure that decides; greater is better.
        at_most: the largest latency in ms; None for no limit.

    Returns:
        Rows of `trial`, `outcome` (`goes on`, `stopped`, `too slow` or `failed`), the objective,
        `epochs`, `latency_ms`, `minutes` and `failed`.
    """
    rows = {}
    for trial, outcome in outcomes.items():
        timed = latencies.get(trial, {})
        row = {
            "trial": trial,
            "outcome": "stopped",
            objective: outcome.get(objective),
            "epochs": outcome.get("epochs"),
            "latency_ms": timed.get("latency_ms"),
            "minutes": outcome.get("minutes"),
            "failed": outcome.get("failed") or timed.get("failed"),
        }
        if row["failed"]:
            row["outcome"] = "failed"
        elif at_most is not None and row["latency_ms"] > at_most:
            row["outcome"] = "too slow"
        rows[trial] = row
    able = {t: row[objective] if row["outcome"] == "stopped" else None for t, row in rows.items()}
    for trial in promoted(able):
        rows[trial]["outcome"] = GOES_ON
    order = [GOES_ON, "stopped", "too slow", "failed"]
    return sorted(
        rows.values(),
        key=lambda row: (order.index(row["outcome"]), -(row[objective] or 0), row["trial"]),
    )


def latencies(lines: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Read the latencies of `rank` from the lines of a CSV file."""
    return {
        row["trial"]: {
            "latency_ms": float(row["latency_ms"]) if row["latency_ms"] else None,
            "failed": row["failed"] or None,
        }
        for row in csv.DictReader(lines)
    }


def going_on(ranking: Iterable[str]) -> list[str]:
    """Return the trials that go on, from the lines of a CSV file of what `rank` returns."""
    return [row["trial"] for row in csv.DictReader(ranking) if row["outcome"] == GOES_ON]
