"""Merge, coerce and validate the configuration of an experiment and its runs."""

import copy
import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from detmake.errors import InputError

_MAX_LINES = 10
_NOTE = " (command line)"
_NAMES = {
    "string": "a string",
    "integer": "an integer",
    "number": "a finite number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}
_KINDS = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "list",
    dict: "mapping",
}
_LIMITS = {
    "minLength": "not empty",
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "multipleOf": "a multiple of {}",
}


class _Loader(yaml.SafeLoader):
    """YAML 1.1 without its surprise that 1e-3 is a string."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.\d+|\d+\.?\d*)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def _is_finite_number(_checker: object, value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# nan would pass every minimum and maximum.
_Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("number", _is_finite_number),
)


def resolve(
    file_config: Mapping[str, Any],
    command_line: Mapping[str, Any],
    schema: Path,
    templates: Path,
) -> dict[str, dict[str, Any]]:
    """Return the effective settings of the base run (key "") and of each declared run (its name).

    Precedence: defaults of the schema < template < configuration file < its run < command line
    (< a run given on the command line). Mappings are merged key by key, everything else is
    replaced, and so is a mapping by one of another `type`. The settings of a run hold every key of
    the configuration but `runs` and `backbone`, and the template's `name`, `task`, `id`, `model`
    (with the configuration's `backbone`), `pipeline` and `optimizer`. `pretrained` is None or
    {"source": URL or path, "channel_order": "rgb", "bgr" or None}; it is replaced as a whole, and
    the template's own is None where the backbone is of another type than the template's. No two
    runs share an object.

    `file_config` is the content of the configuration file. Values of `command_line` may be strings
    at any depth: a string is read as YAML where the schema allows none. `schema` is the YAML file
    of the JSON schema, `templates` the folder of the named templates; a template given as a path
    counts from the working directory.

    Raises InputError that lists all mistakes of all sources by dotted key.
    """
    validator = _Validator(yaml.safe_load(schema.read_text(encoding="utf-8")))
    root = validator.schema
    errors: list[str] = []
    given, given_runs = [], []
    for layer, note in ((file_config, ""), (command_line, _NOTE)):
        layer = _coerce(layer, root, root)
        errors += [
            f"{key}{note}: {problem}"
            for error in _sorted_errors(validator, layer)
            if error.validator != "required"  # another layer may have it
            for key, problem in _explain(error, root)
        ]
        given_runs.append(_mapping(layer.pop("runs", None)))
        given.append(layer)

    defaults = _defaults(root, root)
    loaded: dict[str, dict[str, Any]] = {}
    mistakes_in_base: list[tuple[str, str]] = []
    effective = {}
    for run in dict.fromkeys(["", *given_runs[0], *given_runs[1]]):
        prefix = f"runs.{run}." if run else ""
        file_run, line_run = (_mapping(runs.get(run)) for runs in given_runs)
        layers = [given[0], file_run, given[1], line_run]
        name = _merge(defaults, *layers)["template"]
        if isinstance(name, str) and name not in loaded:
            path = _template_path(name, templates)
            loaded[name] = {}
            if path:
                loaded[name], problems = _load_template(path, validator)
                errors += problems
            elif name:
                note = _NOTE if "template" in given[1] or "template" in line_run else ""
                errors.append(f"{prefix}template{note}: {_unknown_template(name, templates)}")
        template = loaded[name] if isinstance(name, str) else {}
        model = _mapping(template.get("model"))
        # A backbone that names no type is of the template's.
        implied = {"type": _mapping(model.get("backbone")).get("type")}
        settings = _merge(defaults, template, {"backbone": implied}, *layers)
        backbone = settings.pop("backbone")
        settings["model"] = _merge(model, {"backbone": backbone})
        own_pretrained = [layer["pretrained"] for layer in layers if "pretrained" in layer]
        if own_pretrained:
            settings["pretrained"] = own_pretrained[-1]
        elif _mapping(backbone).get("type") != implied["type"]:
            settings["pretrained"] = None  # the template's are weights of another network
        settings["pretrained"] = _pretrained(settings["pretrained"])

        own = {key: value for key, value in settings.items() if key in root["properties"]}
        missing = [
            line
            for error in _sorted_errors(validator, own)
            if error.validator == "required"
            for line in _explain(error, root)
        ]
        mistakes = missing + _unshared_batch(own)
        errors += [
            f"{prefix}{key}: {problem}"
            for key, problem in mistakes
            if not run or (key, problem) not in mistakes_in_base
        ]
        if not run:
            mistakes_in_base = mistakes
        effective[run] = settings

    if errors:
        errors = list(dict.fromkeys(errors))
        lines = errors[:_MAX_LINES]
        if len(errors) > _MAX_LINES:
            lines.append(f"... and {len(errors) - _MAX_LINES} more")
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        raise InputError("\n  ".join([f"The configuration has {count}:", *lines]))
    return effective


def _unshared_batch(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return key and problem where the GPUs of a training cannot share its batches evenly."""
    batch_size = _mapping(settings.get("learning_parameters")).get("batch_size")
    gpus = _mapping(settings.get("resources")).get("gpus")
    # Values of other types, and numbers below 1, are reported elsewhere.
    if not (isinstance(batch_size, int) and isinstance(gpus, int) and gpus > 0):
        return []
    if batch_size % gpus == 0:
        return []
    expected = f"a multiple of resources.gpus, {gpus}, which share each batch evenly"
    return [("learning_parameters.batch_size", f"found {_show(batch_size)}, expected {expected}")]


def _mapping(value: Any) -> dict[str, Any]:
    """Stand in for a value of a wrong type, which is reported elsewhere."""
    return value if isinstance(value, dict) else {}


def _pretrained(value: Any) -> Any:
    """Bring the forms of `pretrained` into one."""
    if isinstance(value, str):
        value = {"source": value}
    return {"channel_order": None, **value} if isinstance(value, dict) else value


def _merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = merged.get(key)
            if (
                isinstance(value, dict)
                and isinstance(below, dict)
                and ("type" not in value or value["type"] == below.get("type"))
            ):
                merged[key] = _merge(below, value)
            else:
                merged[key] = copy.deepcopy(value)
    return merged


def _dereference(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = target
    return schema


def _types(schema: Mapping[str, Any]) -> list[str]:
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else types


def _defaults(schema: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {}
    for key, part in schema.get("properties", {}).items():
        part = _dereference(part, root)
        if "default" in part:
            defaults[key] = part["default"]
        elif nested := _defaults(part, root):
            defaults[key] = nested
    return defaults


def _coerce(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """Bring a value into the schema's types where that is plain; leave it alone where not."""
    schema = _dereference(schema, root)
    types = _types(schema)
    if isinstance(value, str) and "null" in types and value.lower() in {"null", "none"}:
        return None
    if isinstance(value, str) and types and ("string" not in types or "number" in types):
        try:
            value = yaml.load(value, _Loader)
        except yaml.YAMLError:
            return value
    if isinstance(value, Mapping):
        known = schema.get("properties", {})
        other = schema.get("additionalProperties") or {}
        coerced = {}
        for key, item in value.items():
            part = _dereference(known.get(key, other), root)
            item = _coerce(item, part, root)
            if item is None and "object" in _types(part) and "null" not in _types(part):
                if key in known:  # an empty section counts as absent
                    continue
                item = {}
            coerced[key] = item
        return coerced
    if isinstance(value, list | tuple):
        return [_coerce(item, schema.get("items", {}), root) for item in value]
    if isinstance(value, str):
        alike = (option for option in schema.get("enum", []) if option.lower() == value.lower())
        return next(alike, value)
    if isinstance(value, float) and "integer" in types and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and types == ["number"]:
        return float(value)  # 1 and 1.0 are the same setting: one form, or a build looks stale
    return value


def _template_path(name: str, templates: Path) -> Path | None:
    named = templates / f"{name}.yaml"
    if name == Path(name).name and named.is_file():
        return named
    own = Path(name)
    return own if own.suffix in {".yaml", ".yml"} and own.is_file() else None


def _unknown_template(name: str, templates: Path) -> str:
    names = sorted(path.stem for path in templates.glob("*.yaml"))
    return (
        f"found {_show(name)}{_close_match(name, names)}, expected the path of a .yaml file or one "
        f"of the names in {templates}: {', '.join(names) or '(none)'}"
    )


def _load_template(path: Path, validator: Draft202012Validator) -> tuple[dict[str, Any], list[str]]:
    """Read one template file; return its settings and its errors."""
    root = validator.schema
    schema = root["$defs"]["template"]
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        return {}, [f"{path}: cannot be read as YAML: {' '.join(str(error).split())}"]
    if not isinstance(content, dict):
        return {}, [f"{path}: found {_show(content)}, expected a mapping, the keys of a template"]
    content = _coerce(content, schema, root)
    return content, [
        f"{path}: {key}: {problem}"
        for error in _sorted_errors(validator.evolve(schema=schema), content)
        for key, problem in _explain(error, root)
    ]


def _sorted_errors(validator: Draft202012Validator, instance: object) -> list[ValidationError]:
    return sorted(validator.iter_errors(instance), key=lambda error: _dotted(error.absolute_path))


def _dotted(path: Iterable[Any]) -> str:
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).removeprefix(".")


def _explain(error: ValidationError, root: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (dotted key, what is wrong and what is expected), one for each key concerned."""
    path = list(error.absolute_path)
    known = error.schema.get("properties", {})
    found = f"found {_show(error.instance)}"
    if error.validator == "required":
        return [
            (
                _dotted([*path, key]),
                f"missing, expected {_dereference(known[key], root)['description']}",
            )
            for key in error.validator_value
            if key not in error.instance
        ]
    if error.validator == "additionalProperties":
        return [
            (_dotted([*path, str(key)]), _unknown_key(str(key), known, root))
            for key in error.instance
            if key not in known
        ]
    if "propertyNames" in error.absolute_schema_path:
        key = _dotted([*path, str(error.instance)])
        if error.validator == "not":
            reserved = ", ".join(error.validator_value["enum"])
            return [(key, f"the build writes a file or folder of that name; reserved: {reserved}")]
        return [(key, f"{found} as a name, expected {error.schema['description']}")]
    return [(_dotted(path), f"{found}, expected {_expected(error.schema, root)}")]


def _unknown_key(key: str, known: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    # A key may also belong one level further down.
    places = {
        inner: f"{section}.{inner}"
        for section, part in known.items()
        for inner in _dereference(part, root).get("properties", {})
    }
    places |= {name: name for name in known}
    return f"unknown key{_close_match(key, places)}; allowed: {', '.join(known)}"


def _close_match(word: str, candidates: Iterable[str]) -> str:
    places = candidates if isinstance(candidates, Mapping) else {name: name for name in candidates}
    close = difflib.get_close_matches(word, places, n=1, cutoff=0.7)
    return f" (did you mean {places[close[0]]}?)" if close else ""


def _expected(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    schema = _dereference(schema, root)
    types = _types(schema)
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    if "pattern" in schema or len(types) != 1:
        return schema["description"]
    text = _NAMES[types[0]]
    if "items" in schema:
        count = f" of {schema['minItems']}" if "minItems" in schema else ""
        text += f"{count}, each {_expected(schema['items'], root)}"
    limits = [text.format(schema[key]) for key, text in _LIMITS.items() if key in schema]
    return ", ".join([text, *limits])


def _show(value: object) -> str:
    """Return a value as YAML would have it, shortened, with its type."""
    if value is None:
        return "null"
    text = json.dumps(value, ensure_ascii=False, default=str)
    if len(text) > 60:
        text = f"{text[:57]}..."
    kind = type(value)
    return f"{text} ({_KINDS.get(kind, kind.__name__)})"
