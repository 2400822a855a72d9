"""Trials of a hyper-parameter search: their settings; `detmake.build.halving` says which go on."""

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from jsonschema import Draft202012Validator

from detmake.build.schema import coerce, types_of
from detmake.build.schema_messages import explain, show

#: Settings of training that the rungs decide.
_OF_RUNGS = ("epochs", "num_iters", "stop_after")
#: How often a trial is drawn again that was drawn before.
_ATTEMPTS = 100


def with_types(search: Mapping[str, Any], validator: Draft202012Validator) -> dict[str, Any]:
    """Return a search whose values have the types of their keys, as far as they can (`coerce`)."""
    schema = validator.schema["$defs"]["trial"]
    space = search.get("space") or {}
    typed = {
        key: [_value_in(coerce(_nested(key, value), schema), key, value) for value in values]
        for key, values in space.items()
    }
    return {**search, "space": typed}


def mistakes(search: Mapping[str, Any], validator: Draft202012Validator) -> Iterator[str]:
    """Yield what is wrong with a search, by dotted key.

    Args:
        search: the section `search` with all its keys (`with_types`).
        validator: of the schema of the configuration.
    """
    rungs, schema = search["rungs"], validator.schema["$defs"]["trial"]
    if not search.get("space"):
        expected = validator.schema["properties"]["search"]["properties"]["space"]["description"]
        yield f"search.space: missing, expected {expected}"
        return
    if any(later <= earlier for earlier, later in pairwise(rungs)):
        yield f"search.rungs: found {show(rungs)}, expected each number above the one before"
    for key, values in search["space"].items():
        if key.removeprefix("learning_parameters.") in _OF_RUNGS:
            yield f"search.space: {key}: set by search.rungs; remove it from the space"
        for value in values:
            errors = validator.evolve(schema=schema).iter_errors(_nested(key, value))
            for place, problem in explain(errors):
                yield f"search.space: {place}: {problem}"


def draw(search: Mapping[str, Any], validator: Draft202012Validator) -> dict[str, dict[str, Any]]:
    """Draw the trials of a search.

    A trial depends only on the seed, its number and the space. More trials leave the first ones as
    they are. No two are alike, so that there are fewer if the space has fewer.

    Args:
        search: the section `search` without mistakes.
        validator: of the schema of the configuration.

    Returns:
        For each trial (`00`, `01` …), a value for each dotted key of the space.
    """
    schema = validator.schema["$defs"]["trial"]
    found: list[dict[str, Any]] = []
    for number in range(_ATTEMPTS * search["trials"]):
        drawn = {}
        for key, values in search["space"].items():
            share = random.Random(f"{search['seed']} {number} {key}").random()
            if _is_range(key, values, schema):
                drawn[key] = _between(values, share)
            else:
                drawn[key] = values[int(share * len(values))]
        if drawn not in found:
            found.append(drawn)
        if len(found) == search["trials"]:
            break
    return {f"{number:02}": drawn for number, drawn in enumerate(found)}


def runs(
    search: Mapping[str, Any], validator: Draft202012Validator
) -> dict[str, list[dict[str, Any]]]:
    """Return what differs from the configuration in each rung of each trial, by `run_name`.

    The differences are nested mappings, to be merged in their order. All rungs have the epochs, and
    so the schedule, of the last one, and all but that stop earlier.
    """
    *lower, last = search["rungs"]
    schedules = [{"num_iters": last, "stop_after": epochs} for epochs in (*lower, None)]
    trials = draw(search, validator)
    return {
        run_name(rung, trial): [
            *(_nested(key, value) for key, value in drawn.items()),
            {"learning_parameters": schedule},
        ]
        for rung, schedule in enumerate(schedules, 1)
        for trial, drawn in trials.items()
    }


def run_name(rung: int | str, trial: str) -> str:
    """Return the name of a trial's run in a rung, counted from 1."""
    return f"search/{rung}/{trial}"


def is_trial(run: str) -> bool:
    """Return whether a run is one of a search: no declared run has a slash in its name."""
    return "/" in str(run)  # YAML reads a name like 8 as a number, which is reported


def _nested(key: str, value: Any) -> dict[str, Any]:
    """Return the mapping {"a": {"b": value}} for the key `a.b`."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _value_in(layer: Any, key: str, missing: Any) -> Any:
    """Return the value at the key `a.b` of a nested mapping, or another one if there is none."""
    for part in key.split("."):
        if not isinstance(layer, Mapping) or part not in layer:
            return missing
        layer = layer[part]
    return layer


def _is_range(key: str, values: Sequence[Any], schema: Mapping[str, Any]) -> bool:
    """Return whether values are the ends of a range: those of a key whose type is a real number."""
    for part in key.split("."):
        schema = schema.get("properties", {}).get(part, {})
    return types_of(schema) == ["number"] and len(values) == 2


def _between(values: Sequence[float], share: float) -> float:
    """Return a number of a range, on a logarithmic scale, with three digits."""
    low, high = values
    return float(f"{low * (high / low) ** share:.3g}")
