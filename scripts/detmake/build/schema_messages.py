"""Explain validation errors in words: what was found, and what the schema expects."""

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from jsonschema import ValidationError

from detmake.build.schema import LARGEST, types_of

_TYPES = {
    "string": "a string",
    "integer": "an integer",
    "number": "a finite number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}
_KINDS = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "mapping"}
_LIMITS = {
    "minLength": "not empty",
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "exclusiveMaximum": "below {}",
    "maximum": "at most {}",
    "multipleOf": "a multiple of {}",
}


def explain(errors: Iterable[ValidationError]) -> list[tuple[str, str]]:
    """Explain errors of a validator (`detmake.build.schema.load_validator`), sorted by place.

    Returns:
        (dotted key, what was found and what is expected), one for each wrong key. Descriptions in
        the schema are quoted after "expected".
    """
    ordered = sorted(errors, key=lambda error: _dotted(error.absolute_path))
    return [line for error in ordered for line in _explain(error)]


def _explain(error: ValidationError) -> list[tuple[str, str]]:
    path = list(error.absolute_path)
    known = error.schema.get("properties", {})
    found = f"found {show(error.instance)}"
    if error.validator == "required":
        return [
            (_dotted([*path, key]), f"missing, expected {known[key]['description']}")
            for key in error.validator_value
            if key not in error.instance
        ]
    if error.validator == "additionalProperties":
        return [
            (_dotted([*path, str(key)]), _unknown_key(str(key), known))
            for key in error.instance
            if key not in known
        ]
    if error.validator == "x-synonyms":
        name = error.validator_value[path[-1]]
        return [(_dotted(path), f"another name for {name}, which is also given; remove one")]
    if "propertyNames" in error.absolute_schema_path:
        key = _dotted([*path, str(error.instance)])
        if error.validator == "not":
            reserved = ", ".join(error.validator_value["enum"])
            return [(key, f"the build writes a file or folder of that name; reserved: {reserved}")]
        return [(key, f"{found} as a name, expected {error.schema['description']}")]
    return [(_dotted(path), f"{found}, expected {_expected(error.schema)}")]


def _dotted(path: Iterable[Any]) -> str:
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).removeprefix(".")


def _unknown_key(key: str, known: Mapping[str, Any]) -> str:
    # The key may belong one level further down, in the first section that has it.
    places = {
        inner: f"{section}.{inner}"
        for section, part in reversed(known.items())
        for inner in part.get("properties", {})
    }
    places |= {name: name for name in known}
    return f"unknown key{close_match(key, places)}; allowed: {', '.join(known)}"


def close_match(word: str, suggestions: Mapping[str, str]) -> str:
    """Return " (did you mean …?)" with the suggestion for the most similar key, "" if none is."""
    close = difflib.get_close_matches(word, suggestions, n=1, cutoff=0.7)
    return f" (did you mean {suggestions[close[0]]}?)" if close else ""


def _expected(schema: Mapping[str, Any]) -> str:
    types = types_of(schema)
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    if {"pattern", "not"} & schema.keys() or len(types) != 1:
        return schema["description"]
    text = _TYPES[types[0]]
    if "items" in schema:
        least, most = schema.get("minItems"), schema.get("maxItems")
        count = f" of {least}" + " or more" * (least != most) if least else ""
        text += f"{count}, each {_expected(schema['items'])}"
    limits = [text.format(schema[key]) for key, text in _LIMITS.items() if key in schema]
    return ", ".join([text, *limits])


def show(value: object) -> str:
    """Return a value as JSON, cut to 60 characters, followed by its type in brackets."""
    if value is None:
        return "null"
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except TypeError:  # a mapping whose keys are dates, for example
        text = str(value)
    if len(text) > 60:
        text = f"{text[:57]}..."
    kind = _KINDS.get(type(value), type(value).__name__)
    if kind == "integer" and abs(value) > LARGEST:
        kind = "integer beyond 2^53"
    return f"{text} ({kind})"
