"""Trials of a search: how they are drawn, and their settings."""

import configuration_case
import pytest
from configuration_case import DATA, SCHEMA

from detmake.build import configuration, trials
from detmake.build.schema import load_validator

resolve, problems = configuration_case.resolve, configuration_case.problems
templates = configuration_case.templates

RATE = "learning_parameters.learning_rate"
SPACE = {RATE: [3e-4, 3e-3], "input_size": [[320, 256], [416, 320]]}
BACKBONE = {"backbone": [{"type": "MobileNetV2", "widen_factor": 0.5}]}
SEARCH = {"trials": 12, "space": SPACE, "rungs": [4, 12, 36], "objective": "f-measure", "seed": 0}


def draw(**changes):
    return trials.draw(SEARCH | changes, load_validator(SCHEMA))


# Drawing


def test_trials_lie_in_the_space():
    drawn = draw(trials=200)
    rates = [trial[RATE] for trial in drawn.values()]
    assert min(rates) >= 3e-4
    assert max(rates) <= 3e-3
    # On a logarithmic scale, the middle of the range is sqrt(3e-4 · 3e-3).
    assert 75 < sum(rate < 9.487e-4 for rate in rates) < 125
    sizes = [trial["input_size"] for trial in drawn.values()]
    assert 75 < sizes.count([320, 256]) < 125
    assert sizes.count([320, 256]) + sizes.count([416, 320]) == 200


def test_more_trials_or_keys_leave_the_others_as_they_are():
    few = draw()
    assert list(few) == [f"{number:02}" for number in range(12)]
    many = draw(trials=20)
    assert {name: many[name] for name in few} == few
    wider = draw(space=SPACE | {"template": ["atss_mobilenetv2", "ssd_mobilenetv2"]})
    assert [trial[RATE] for trial in wider.values()] == [trial[RATE] for trial in few.values()]


def test_another_seed_draws_others():
    assert draw(seed=1) != draw()


def test_no_trial_is_drawn_twice():
    space = {"learning_parameters.batch_size": [4, 8], "input_size": SPACE["input_size"]}
    drawn = draw(space=space).values()
    assert len(drawn) == 4
    assert all(list(drawn).count(trial) == 1 for trial in drawn)


@pytest.mark.parametrize("values", [[1e-3], [1e-4, 1e-3, 1e-2]])
def test_one_number_and_three_are_choices(values):
    drawn = draw(space={RATE: values}).values()
    assert sorted(trial[RATE] for trial in drawn) == values


# The configuration


def test_trials_are_runs_of_the_configuration(resolve):
    search = {"trials": 2, "space": {RATE: ["1e-3", "2e-3"]}, "rungs": [2, 6]}
    parameters = {"epochs": 99, "batch_size": 3}
    settings = resolve({"data": DATA, "search": search, "learning_parameters": parameters})
    assert set(settings) == {
        "",
        *(f"search/{rung}/{trial:02}" for rung in (1, 2) for trial in (0, 1)),
    }
    first, last = (settings[f"search/{rung}/01"]["learning_parameters"] for rung in (1, 2))
    assert first["stop_after"] == 2
    assert last["stop_after"] is None
    assert first | {"stop_after": None} == last
    assert last["num_iters"] == 6
    assert last["batch_size"] == 3
    assert 1e-3 <= last["learning_rate"] <= 2e-3
    assert settings[""]["learning_parameters"]["num_iters"] == 99


def test_values_have_the_types_of_their_keys(resolve):
    """The text `none` is a value of some keys, and null one of others."""
    space = {
        "learning_parameters.augmentation": ["none"],
        "pretrained": ["none"],
        "learning_parameters.batch_size": ["8"],
    }
    search = {"trials": 1, "space": space, "rungs": [6]}
    trial = resolve({"data": DATA, "search": search})["search/1/00"]
    parameters = trial["learning_parameters"]
    assert (parameters["augmentation"], parameters["batch_size"]) == ("none", 8)
    assert trial["pretrained"] is None


def test_the_command_line_does_not_change_what_is_drawn(resolve):
    config = {"data": DATA, "search": {"trials": 1, "space": {RATE: [0.001, 0.002]}, "rungs": [6]}}
    line = {"learning_parameters": {"epochs": 3, "learning_rate": 0.5, "seed": 7}}
    settings = resolve(config, line)
    (trial,) = (settings[name]["learning_parameters"] for name in settings if name)
    assert 0.001 <= trial["learning_rate"] <= 0.002
    assert (trial["num_iters"], trial["seed"]) == (6, 7)
    assert settings[""]["learning_parameters"]["learning_rate"] == 0.5

    changes = trials.runs(settings[""]["search"], load_validator(SCHEMA))["search/1/00"]
    content = configuration.alone(config, changes, line, SCHEMA, settings["search/1/00"])
    assert resolve(content)[""]["learning_parameters"] == trial


def test_a_trial_stands_alone(resolve):
    config = {
        "data": DATA,
        "learning_parameters": {"epochs": 99, "batch_size": 3},
        "backbone": {"frozen_stages": 2},
        "search": {"trials": 1, "space": SPACE | BACKBONE, "rungs": [2, 6]},
        "runs": {"slow": {}},
    }
    settings = resolve(config)
    changes = trials.runs(settings[""]["search"], load_validator(SCHEMA))["search/2/00"]
    line = {"device": "cpu", "plan": "search", "evaluation": {"subset": "val"}}
    assert settings["search/2/00"]["model"]["backbone"]["frozen_stages"] == 2
    content = configuration.alone(config, changes, line, SCHEMA, settings["search/2/00"])
    alone = resolve(content)
    assert set(alone) == {""}
    expected = settings["search/2/00"] | {"evaluation": {"subset": "val"}, "search": None}
    assert alone[""] == expected
    assert content["template"] == "atss_mobilenetv2"  # the default, which may change


@pytest.mark.parametrize(
    ("search", "problem"),
    [
        ({}, "search.space: missing, expected keys of the configuration, each with a list of"),
        ({"space": {"template": []}}, "search.space.template: found [] (list), expected"),
        ({"space": {"template": "a"}}, 'search.space.template: found "a" (string), expected'),
        ({"space": {"data": ["a"]}}, "search.space: data: unknown key"),
        ({"space": {"template": ["yolox"]}}, 'search/1/00: template: found "yolox"'),
        ({"space": {RATE: [0, 1]}}, f"search.space: {RATE}: found 0.0 (number), expected"),
        (
            {"space": {"learning_parameters.epochs": [9]}},
            "search.space: learning_parameters.epochs: set by search.rungs; remove it",
        ),
        (
            {"space": SPACE, "rungs": [4, 4]},
            "search.rungs: found [4, 4] (list), expected each number above the one before",
        ),
        ({"space": SPACE, "objective": "speed"}, 'search.objective: found "speed" (string)'),
    ],
)
def test_mistakes(problems, search, problem):
    assert problems({"search": search})[0].startswith(problem)


def test_what_a_search_cannot_do(problems):
    search = {"space": SPACE}
    assert problems({"search": search, "weights": "mine.pth"}) == [
        "search: found finished `weights`, expected a detector to train"
    ]
    (line,) = problems({"search": search, "tiling": {}})
    assert line.startswith("search: trials share the tiles of the base run")


def test_a_run_cannot_have_the_folder_of_the_search(problems):
    (line,) = problems({"runs": {"search": {}}})
    assert line.startswith("runs.search: the build writes a file or folder of that name")
