"""The accuracy budget, in points."""

import re
from pathlib import Path

import pytest
import yaml

from detmake.errors import InputError
from detmake.quantization.budget import Budget

SCHEMA = Path(__file__).parents[2] / "rules/schema.yaml"


@pytest.mark.parametrize(
    "original, points, measured, allowed",
    [
        (0.83, 1.0, 0.82, True),  # exactly at the budget, despite rounding errors
        (0.83, 1.0, 0.8199, False),
        (0.83, 1.0, 0.84, True),
        (0.83, 0.0, 0.83, True),
        (0.83, 0.0, 0.8299, False),
        (0.43, 40.5, 0.03, True),
    ],
)
def test_a_drop_up_to_the_budget_is_allowed(original, points, measured, allowed):
    budget = Budget(original, points)
    assert budget.allows(measured) == allowed
    assert budget.describe(measured)["within_budget"] == allowed
    if allowed:
        budget.enforce(measured, "fail", "pot_parameters")
    else:
        with pytest.raises(InputError, match=r"pot_parameters\.maximal_accuracy_degradation"):
            budget.enforce(measured, "fail", "pot_parameters")


def test_a_report_has_the_absolute_and_the_relative_drop():
    # 0.80 to 0.76: 4 points of F-measure, a twentieth of it.
    report = Budget(0.8, 1.5).report(0.76)
    assert report.startswith("F-measure 0.7600, original 0.8000")
    assert report.endswith("drop 4.00 points (5.00 %), budget 1.5 points")
    assert Budget(0.8, 1.5).drop(0.9) == pytest.approx(-10)


@pytest.mark.parametrize(
    "interval, undecided",
    [((-0.5, 0.9), False), ((-0.5, 1.0), False), ((-0.5, 1.1), True), ((1.1, 3.0), False)],
)
def test_an_interval_that_contains_the_budget_is_undecided(interval, undecided):
    budget = Budget(0.8, 1.0)
    assert budget.undecided(interval) == undecided
    described = budget.describe(0.795, interval)
    assert described["undecided"] == undecided
    assert described["drop_interval_points"] == list(interval)
    assert f"95 % interval {interval[0]:.2f} to {interval[1]:.2f}" in budget.report(0.795, interval)
    assert "undecided" not in budget.describe(0.795)


def test_a_model_that_finds_nothing_has_no_budget():
    with pytest.raises(InputError, match="finds nothing on the val subset"):
        Budget(0.0, 100.0)


@pytest.mark.parametrize("section", ["pot_parameters", "nncf_optimization"])
def test_the_message_names_only_keys_that_exist(section):
    with pytest.raises(InputError) as error:
        Budget(0.8, 1.0).enforce(0.4, "fail", section)
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    named = set(re.findall(rf"{section}\.(\w+)", str(error.value)))
    assert named <= schema["properties"][section]["properties"].keys()
    assert ("epochs" in named) == (section == "nncf_optimization")


def test_warn_keeps_the_model_with_a_warning(caplog):
    Budget(0.8, 1.0).enforce(0.4, "warn", "nncf_optimization")
    assert "beyond its budget" in caplog.text
    assert "nncf_optimization.on_degradation" in caplog.text


def test_a_budget_from_its_description():
    budget = Budget(0.8, 1.5)
    assert Budget.described(budget.describe(0.76)) == (budget, 0.76)
