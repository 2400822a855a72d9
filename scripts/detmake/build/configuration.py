"""Resolve the settings of every run from defaults, templates, the file and the command line."""

import copy
import hashlib
import json
import math
import os
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from detmake import yaml_text
from detmake.build import trials
from detmake.build.schema import coerce, defaults, load_validator, rename_synonyms
from detmake.build.schema_messages import close_match, explain, show
from detmake.errors import InputError

_MAX_LINES = 10
_NOTE = " (command line)"
#: Key that makes a YAML file a template of YTE, whose expressions Snakemake evaluates.
_CODE = "__use_yte__"
#: Keys that change only how fast a result is made: they never make it stale.
SPEED_ONLY = {"num_workers"}
_NOT_OF_A_RUN = {"search", "plan", "clean", "minutes", "verify", "store", "device", "resources"}
#: No job of a cluster makes a result that depends on them: that of a template is in `model` etc.
_OF_NO_RESULT = {"template", "name", "id", "results", "schema_version", "bccd_url"}


def resolve(
    file_config: Mapping[str, Any], command_line: Mapping[str, Any], schema: Path, templates: Path
) -> dict[str, dict[str, Any]]:
    """Return the settings of the base run (key "") and of each declared run (its name).

    The trials of a search are runs, too: of the file, one for each rung (`trials.runs`).

    Precedence: defaults of the schema < template < configuration file < the run in that file
    < command line < the run on the command line. Mappings are merged key by key. Any other value is
    replaced, and so is a mapping by one of another `type`, `data` by one of another form (`source`,
    or `train` and so on), and `data.classes`. The schema's synonyms are replaced by
    the names they stand for in each layer before merging. A learning rate that no run, file or
    command line gives grows with the batch size.

    The settings of a run hold every key of the configuration except `runs` and `backbone`, and the
    template's `name`, `id`, `model` (with the configuration's `backbone`), `pipeline` and
    `optimizer`. `pretrained` is None or {"source": URL or path, "channel_order": "rgb", "bgr" or
    None}. It is replaced as a whole. The template's own does not count if the backbone is of
    another type than the template's. `tiling` and `search` are None or have all their keys. No two
    runs share an object.

    Args:
        file_config: content of the configuration file.
        command_line: configuration given on the command line. Values may be strings at any depth;
            a string is read as YAML where the schema allows no string.
        schema: YAML file of the JSON schema.
        templates: folder of the named templates. The path of a template is relative to the working
            directory.

    Raises:
        InputError: with the mistakes of all sources, by dotted key.
    """
    validator = load_validator(schema)
    in_file, file_runs, errors = _read_layer(file_config, validator)
    on_line, line_runs, line_errors = _read_layer(command_line, validator, _NOTE)
    errors += line_errors
    base = defaults(validator.schema)
    if search := _section("search", [in_file, on_line], validator):
        if not errors:
            search = trials.with_types(search, validator)
            errors += trials.mistakes(search, validator)
        drawn = trials.runs(search, validator) if not errors else {}
        for run, layers in drawn.items():
            trial = coerce(_merge(*layers), validator.schema["$defs"]["trial"])
            file_runs[run] = rename_synonyms(trial, validator.schema["$defs"]["trial"])
    loaded: dict[str, dict[str, Any]] = {"": {}}
    effective = {}
    for run in dict.fromkeys(["", *file_runs, *line_runs]):
        prefix = place_of(run)
        from_line = [on_line, _mapping(line_runs.get(run))]
        own = _mapping(file_runs.get(run))
        # A trial keeps what was drawn for it, whatever the command line says for all runs.
        of_trial = trials.is_trial(run)
        layers = [in_file, *from_line, own] if of_trial else [in_file, own, *from_line]
        name = ChainMap(*reversed(layers), base)["template"]
        if not isinstance(name, str):
            name = ""  # the schema reports it, and an empty name
        if name not in loaded:
            note = _NOTE if any("template" in layer for layer in from_line) else ""
            key = f"{prefix}template{note}"
            loaded[name], template_errors = _read_template(name, templates, key, validator)
            errors += template_errors
        effective[run] = settings = _run_settings(base, loaded[name], layers)
        settings["tiling"] = _section("tiling", [settings], validator)
        settings["search"] = copy.deepcopy(search)
        mistakes = _mistakes_of_run(effective[run], validator)
        # Runs share the mistakes of the base run, which comes first.
        errors += [f"{prefix}{mistake}" for mistake in mistakes if mistake not in errors]
        if of_trial:
            errors += _mistakes_of_trial(settings, effective[""])
        if run and run == effective[""]["results"]:
            expected = "another name, since tables call the base run so"
            errors.append(
                f"runs.{run}: found the name of the folder `results`, expected {expected}"
            )
    if errors:
        raise InputError(summary(errors))
    return effective


def alone(
    file_config: Mapping[str, Any],
    changes: Sequence[Mapping[str, Any]],
    command_line: Mapping[str, Any],
    schema: Path,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the configuration of a trial, without the search and other runs.

    It names the template, even if that is the default. Keys of one call or one machine, which
    change no result, are left out.

    Args:
        file_config, command_line, schema: as for `resolve`, which finds no mistake in them.
        changes: what differs in the trial, as layers.
        settings: what `resolve` returns for the trial.
    """
    validator = load_validator(schema)
    layers = [_read_layer(layer, validator)[0] for layer in (file_config, command_line, *changes)]
    merged = _merge({"template": defaults(validator.schema)["template"]}, *layers)
    merged["data"] = reduce(_merge_data, [layer["data"] for layer in layers if "data" in layer])
    if given := [layer["pretrained"] for layer in layers if "pretrained" in layer]:
        merged["pretrained"] = given[-1]
    if "backbone" in merged:  # how layers of it merge depends on the template
        merged["backbone"] = copy.deepcopy(settings["model"]["backbone"])
    return {key: value for key, value in merged.items() if key not in _NOT_OF_A_RUN}


def digests(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return a digest of each key of a run's settings that its results depend on."""
    found = {}
    for key in settings.keys() - _NOT_OF_A_RUN - _OF_NO_RESULT:
        part = settings[key]
        if isinstance(part, Mapping):
            part = {name: value for name, value in part.items() if name not in SPEED_ONLY}
        text = json.dumps(part, sort_keys=True, default=str)
        found[key] = hashlib.sha256(text.encode()).hexdigest()[:8]
    return found


def place_of(run: str) -> str:
    """Return what precedes the keys of a run in messages."""
    if trials.is_trial(run):
        return f"{run}: "
    return f"runs.{run}." if run else ""


def summary(errors: Sequence[str]) -> str:
    """Return one text that prints about mistakes in a configuration; each begins with its key."""
    printable = map(str, map(InputError, errors))
    lines = list(dict.fromkeys(printable))  # a value may break two rules with one message
    count = "1 error" if len(lines) == 1 else f"{len(lines)} errors"
    if len(lines) > _MAX_LINES:
        lines[_MAX_LINES:] = [f"... and {len(lines) - _MAX_LINES} more"]
    return "\n  ".join([f"The configuration has {count}:", *lines])


def _read_layer(
    given: Mapping[str, Any], validator: Draft202012Validator, note: str = ""
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Return the settings that one source gives for all runs, those by run, and its mistakes."""
    layer = coerce(given, validator.schema)
    # A key that is missing here may come from another layer.
    errors = [error for error in validator.iter_errors(layer) if error.validator != "required"]
    mistakes = [f"{key}{note}: {problem}" for key, problem in explain(errors)]
    layer = rename_synonyms(layer, validator.schema)
    return layer, _mapping(layer.pop("runs", None)), mistakes


def _run_settings(
    base: Mapping[str, Any], template: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Merge defaults, template and the layers of one run, weakest first."""
    model = _mapping(template.get("model"))
    # A backbone without a type is a change of the template's backbone.
    implied = {"type": _mapping(model.get("backbone")).get("type")}
    settings = _merge(base, template, {"backbone": implied}, *layers)
    if given := [layer["data"] for layer in layers if "data" in layer]:
        settings["data"] = copy.deepcopy(reduce(_merge_data, given))
    backbone = settings.pop("backbone")
    settings["model"] = _merge(model, {"backbone": backbone})
    if not any("learning_rate" in _mapping(layer.get("learning_parameters")) for layer in layers):
        own = _merge(base, template)["learning_parameters"]
        _let_learning_rate_grow_with_batch(own, settings["learning_parameters"])
    own_pretrained = [layer["pretrained"] for layer in layers if "pretrained" in layer]
    if own_pretrained:
        settings["pretrained"] = own_pretrained[-1]
    elif _mapping(backbone).get("type") != implied["type"]:
        settings["pretrained"] = None  # the template's weights are of another network
    if isinstance(settings["pretrained"], str):
        settings["pretrained"] = {"source": settings["pretrained"]}
    if isinstance(settings["pretrained"], dict):
        settings["pretrained"] = {"channel_order": None, **settings["pretrained"]}
    return settings


def _let_learning_rate_grow_with_batch(own: Any, learning: Any) -> None:
    """Scale the learning rate by the square root of what the batch size grows by.

    The rule for Adam: Malladi, Lyu, Panigrahi, Arora: On the SDEs and Scaling Rules for Adaptive
    Gradient Algorithms, 2022, arXiv 2205.10287. A smaller batch than the template's keeps its rate:
    the short trainings of a CPU then learn more. Numbers of other types are reported by the schema.

    Args:
        own: the template's learning parameters, merged with the defaults.
        learning: the run's, which may have another batch size; changed in place.
    """
    sizes = [_mapping(parameters).get("batch_size") for parameters in (own, learning)]
    rate = _mapping(own).get("learning_rate")
    if all(isinstance(size, int) and size > 0 for size in sizes) and isinstance(rate, int | float):
        before, now = sizes
        if now > before:
            learning["learning_rate"] = float(f"{rate * math.sqrt(now / before):.3g}")


def _section(key: str, layers: Sequence[Mapping[str, Any]], validator: Draft202012Validator) -> Any:
    """Return a section that may be null, with its defaults; the last null or mapping counts."""
    given = None
    for layer in layers:
        value = layer.get(key, given)
        given = _merge(_mapping(given), value) if isinstance(value, dict) else value
    if not isinstance(given, dict):  # null, or of a wrong type, which the schema reports
        return given
    return _merge(defaults(validator.schema["properties"][key]), given)


def _mistakes_of_trial(settings: Mapping[str, Any], base: Mapping[str, Any]) -> list[str]:
    """Return why a trial of a search cannot be trained."""
    mistakes = []
    if settings["weights"]:
        mistakes.append("search: found finished `weights`, expected a detector to train")
    if (settings["pretrained"] or {}).get("source") == "previous":
        mistakes.append(
            "search: found pretrained: previous, which differs between trials; set pretrained to "
            "null, or name the file of a snapshot"
        )
    if settings["tiling"] and settings["input_size"] != base["input_size"]:
        mistakes.append(
            "search: trials share the tiles of the base run, and these follow from its input_size; "
            "set input_size to one value, or tiling to null"
        )
    return mistakes


def _mistakes_of_run(settings: Mapping[str, Any], validator: Draft202012Validator) -> Iterator[str]:
    """Yield the mistakes that are only known once all layers are merged."""
    own = {key: settings[key] for key in validator.schema["properties"] if key in settings}
    errors = [error for error in validator.iter_errors(own) if error.validator == "required"]
    for key, problem in explain(errors):
        yield f"{key}: {problem}"
    batch_size = _mapping(own["learning_parameters"]).get("batch_size")
    gpus = _mapping(own["resources"]).get("gpus")
    # Other types, and numbers below 1, are reported by the schema.
    if isinstance(batch_size, int) and isinstance(gpus, int) and gpus > 0 and batch_size % gpus:
        expected = f"a multiple of resources.gpus, {gpus}, which share each batch evenly"
        yield f"learning_parameters.batch_size: found {show(batch_size)}, expected {expected}"
    previous = _mapping(settings["pretrained"]).get("source") == "previous"
    if previous and not settings["weights"] and _mapping(own["store"]).get("enabled") is False:
        yield (
            "pretrained: found previous, a snapshot of the store, but store.enabled is false. Set "
            "it to true, or name the file of a snapshot"
        )


def _mapping(value: Any) -> dict[str, Any]:
    """Return an empty mapping for a value of a wrong type, which the schema reports."""
    return value if isinstance(value, dict) else {}


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


def _merge_data(below: Any, data: Any) -> Any:
    """Return `data` merged with that of the layer below, unless one has another form."""
    if not (isinstance(below, dict) and isinstance(data, dict)):
        return data
    source, subsets = {"source"}, {"train", "val", "test"}
    for one, other in ((below, data), (data, below)):
        if source & set(one) and subsets & set(other):
            return data
    merged = _merge(below, data)
    return merged | {key: data[key] for key in ("classes",) if key in data}


def check_file(path: Path) -> None:
    """Refuse what Snakemake would take in silence: a repeated key, and Python code.

    Raises:
        InputError: a key is repeated, the file has the key `__use_yte__`, or it is not YAML.
    """
    if path.suffix not in {".yaml", ".yml"}:
        return
    if _CODE in _mapping(_read(path)):
        raise InputError(
            f"{path}: found {_CODE}, by which Snakemake runs Python code in the file. Expected "
            "values only: write what the code returns, and remove the key."
        )


def _read(path: Path) -> Any:
    """Return the content of a YAML file. Raises InputError if it cannot be read."""
    try:
        return yaml_text.parse(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        found = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as YAML: {found}") from error


def _read_template(
    name: str, folder: Path, key: str, validator: Draft202012Validator
) -> tuple[dict[str, Any], list[str]]:
    """Return the settings of a template, given by name or path under `key`, and its mistakes."""
    path = folder / f"{name}.yaml"
    # Of `os.path`, since `Path` raises an error if a name is too long.
    if name != path.stem or not os.path.isfile(path):
        path = Path(name)
    if path.suffix not in {".yaml", ".yml"} or not os.path.isfile(path):
        names = {path.stem: path.stem for path in sorted(folder.glob("*.yaml"))}
        return {}, [
            f"{key}: found {show(name)}{close_match(name, names)}, expected the path of a .yaml "
            f"file or one of the names in {folder}: {', '.join(names) or '(none)'}"
        ]
    try:
        content = _read(path)
    except InputError as error:
        return {}, [str(error)]
    if not isinstance(content, dict):
        return {}, [f"{path}: found {show(content)}, expected a mapping, the keys of a template"]
    schema = validator.schema["$defs"]["template"]
    content = coerce(content, schema)
    errors = validator.evolve(schema=schema).iter_errors(content)
    mistakes = [f"{path}: {key}: {problem}" for key, problem in explain(errors)]
    return rename_synonyms(content, schema), mistakes
