"""Read, coerce and validate values according to the JSON schema of the configuration."""

import math
from collections.abc import Iterator, Mapping
from functools import cache, reduce
from operator import getitem
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from detmake import yaml_text

#: Beyond it, neighbouring integers are one floating-point number, as in JSON.
LARGEST = 2**53


def _is_finite_number(_checker: object, value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST


def _is_integer(checker: object, value: object) -> bool:
    return _is_finite_number(checker, value) and value == int(value)


def _one_name_each(
    validator: Draft202012Validator, synonyms: Mapping[str, str], value: Any, _schema: object
) -> Iterator[ValidationError]:
    if validator.is_type(value, "object"):
        for synonym, name in synonyms.items():
            if synonym in value and name in value:
                yield ValidationError(f"{synonym} and {name} are synonyms", path=[synonym])


_Validator = extend(
    Draft202012Validator,
    validators={"x-synonyms": _one_name_each},
    # NaN would pass every minimum and maximum.
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"number": _is_finite_number, "integer": _is_integer}
    ),
)


@cache
def load_validator(path: Path) -> Draft202012Validator:
    """Return a validator for the schema in a YAML file.

    Two things differ from JSON Schema 2020-12: numbers must be finite, and integers at most
    `LARGEST`; and an object may have the keyword `x-synonyms`, a mapping {synonym: name} of its
    properties. A value may then hold the synonym or the name, but not both. Each `$ref` is replaced
    by the part of the file it points to.
    """
    schema = yaml_text.parse(path.read_text(encoding="utf-8"))
    _resolve_references(schema, schema)
    return _Validator(schema)


def _resolve_references(part: dict[str, Any], root: Mapping[str, Any]) -> None:
    for key, value in part.items():
        if isinstance(value, dict) and "$ref" in value:
            part[key] = reduce(getitem, value["$ref"].removeprefix("#/").split("/"), root)
        elif isinstance(value, dict):
            _resolve_references(value, root)


_NUMBERS = {"integer", "number"}


def types_of(schema: Mapping[str, Any]) -> list[str]:
    """Return the JSON types that a schema allows."""
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else types


def defaults(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the defaults of a schema, nested as its properties are."""
    synonyms = schema.get("x-synonyms", {})
    found = {
        key: part.get("default", defaults(part))
        for key, part in schema.get("properties", {}).items()
        if key not in synonyms
    }
    return {key: value for key, value in found.items() if value != {}}


def coerce(value: Any, schema: Mapping[str, Any]) -> Any:
    """Convert a value to the schema's types; leave it unchanged where that is ambiguous.

    Strings are read as YAML where the schema allows no string, enum values match in any case,
    whole floats become integers and integers become floats as the schema has them, and sections
    that are null count as absent.
    """
    types = types_of(schema)
    if isinstance(value, str) and "null" in types and value.lower() in {"null", "none"}:
        return None
    if isinstance(value, str) and types and ("string" not in types or set(types) & _NUMBERS):
        try:
            value = yaml_text.parse(value)
        except yaml.YAMLError:
            return value
    if isinstance(value, Mapping):
        known = schema.get("properties", {})
        other = schema.get("additionalProperties") or {}
        coerced = {}
        for key, item in value.items():
            part = known.get(key, other)
            item = coerce(item, part)
            if item is None and "object" in types_of(part) and "null" not in types_of(part):
                if key in known:  # an empty section counts as absent
                    continue
                item = {}
            coerced[key] = item
        return coerced
    if isinstance(value, list | tuple):
        return [coerce(item, schema.get("items", {})) for item in value]
    if isinstance(value, str):
        alike = (option for option in schema.get("enum", []) if option.lower() == value.lower())
        return next(alike, value)
    if isinstance(value, float) and "integer" in types and value.is_integer():
        return int(value)
    if type(value) is int and abs(value) <= LARGEST and types == ["number"]:
        return float(value)  # 1 and 1.0 are one setting; two forms would look like a change
    return value


def rename_synonyms(value: Any, schema: Mapping[str, Any]) -> Any:
    """Replace synonyms by the names that the schema's `x-synonyms` give for them."""
    if not isinstance(value, dict):
        return value
    synonyms, known = schema.get("x-synonyms", {}), schema.get("properties", {})
    other = schema.get("additionalProperties") or {}
    return {
        synonyms.get(key, key): rename_synonyms(item, known.get(key, other))
        for key, item in value.items()
    }
