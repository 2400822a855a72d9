"""Successive halving, by hand."""

import csv
import io

import pytest

from detmake.build import halving


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.1, 0.9, 0.5], ["01"]),
        ([0.1, 0.9, 0.5, 0.7], ["01", "03"]),
        ([0.5, 0.5, 0.5, 0.5], ["00", "01"]),  # alike: the first ones
        ([0.1] * 12, ["00", "01", "02", "03"]),
        ([None, 0.0, None, None], ["01"]),  # what failed counts, but does not go on
        ([None, None, None], []),
        ([0.3], ["00"]),
    ],
)
def test_a_third_rounded_up_goes_on(scores, expected):
    named = {f"{number:02}": score for number, score in enumerate(scores)}
    assert halving.promoted(named) == expected


def test_a_ranking_by_hand():
    figures = {"00": 0.3, "01": 0.8, "02": 0.9, "03": 0.7, "04": 0.6}
    outcomes = {
        name: {"f-measure": 0.0, "mAP50": figure, "epochs": 4, "minutes": 1.5}
        for name, figure in figures.items()
    }
    outcomes["05"] = {"failed": "InputError: it diverged"}
    latencies = {name: {"latency_ms": 5.0, "failed": None} for name in figures}
    latencies["02"]["latency_ms"] = 6.5
    latencies["04"] = {"latency_ms": None, "failed": "cannot be exported"}
    rows = halving.rank(outcomes, latencies, "mAP50", at_most=6.0)
    assert [(row["trial"], row["outcome"]) for row in rows] == [
        ("01", "goes on"),
        ("03", "goes on"),
        ("00", "stopped"),
        ("02", "too slow"),
        ("04", "failed"),
        ("05", "failed"),
    ]
    assert rows[0]["mAP50"] == 0.8
    assert rows[4]["failed"] == "cannot be exported"
    assert rows[5]["failed"] == "InputError: it diverged"

    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    assert halving.going_on(text.getvalue().splitlines()) == ["01", "03"]


def test_latencies_are_read():
    lines = ["trial,latency_ms,failed,measured_on", "00,4.5,,a CPU", '01,,"no, it failed",a CPU']
    assert halving.latencies(lines) == {
        "00": {"latency_ms": 4.5, "failed": None},
        "01": {"latency_ms": None, "failed": "no, it failed"},
    }
