"""The schema, and values that take its types."""

import configuration_case
import pytest
import yaml
from configuration_case import DATA, SCHEMA, TEMPLATE, write_template
from jsonschema import Draft202012Validator

resolve, problems = configuration_case.resolve, configuration_case.problems
templates = configuration_case.templates

URL = "https://example.org/v3.0/atss/atss_r50-ff34753d.pth"


def test_schema_is_valid_and_its_defaults_satisfy_it():
    schema = yaml.safe_load(SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)

    def defaults(part):
        if "default" in part:
            yield part, part["default"]
        for nested in part.get("properties", {}).values():
            yield from defaults(nested)

    found = list(defaults(schema))
    assert len(found) > 15
    for part, default in found:
        Draft202012Validator(part).validate(default)


def test_every_key_but_the_shared_ones_may_differ_between_runs():
    schema = yaml.safe_load(SCHEMA.read_text())
    shared = {"runs", "results", "bccd_url", "search", "plan", "store", "verify", "minutes"}
    shared |= {"clean", "schema_version"}
    assert set(schema["$defs"]["run"]["properties"]) == set(schema["properties"]) - shared


@pytest.mark.parametrize(
    ("section", "key", "text", "value"),
    [
        ("learning_parameters", "batch_size", "4", 4),
        ("learning_parameters", "num_iters", "1e2", 100),
        ("learning_parameters", "learning_rate", "1e-3", 0.001),
        ("learning_parameters", "learning_rate", "2.5E-4", 0.00025),
        ("learning_parameters", "learning_rate", ".5", 0.5),
        ("learning_parameters", "learning_rate", "1", 1.0),
        ("learning_parameters", "learning_rate", 1, 1.0),
        ("learning_parameters", "batch_size", 4.0, 4),
        ("learning_parameters", "enable_early_stopping", "false", False),
        ("learning_parameters", "enable_early_stopping", "True", True),
        ("learning_parameters", "learning_rate_schedule", "Cosine", "cosine"),
        ("pot_parameters", "preset", "Mixed", "mixed"),
        ("pot_parameters", "preset", "PERFORMANCE", "performance"),
        ("resources", "gpus", "2", 2),
        ("resources", "gpu_partition", "12", "12"),
    ],
)
@pytest.mark.parametrize("source", ["file", "line", "run"])
def test_values_take_the_type_of_the_schema(resolve, source, section, key, text, value):
    part = {section: {key: text}}
    if source == "line":
        settings = resolve(None, part)[""]
    elif source == "file":
        settings = resolve({"data": DATA, **part})[""]
    else:
        settings = resolve({"data": DATA, "runs": {"r": part}})["r"]
    assert settings[section][key] == value
    assert type(settings[section][key]) is type(value)


@pytest.mark.parametrize("size", ["[96, 64]", ["96", "64"], [96.0, 64]])
def test_input_size_of_the_command_line(resolve, size):
    found = resolve(None, {"input_size": size})[""]["input_size"]
    assert found == [96, 64]
    assert all(type(side) is int for side in found)


def test_strings_stay_strings(resolve):
    settings = resolve(None, {"results": "4", "data": "null"})[""]
    assert (settings["results"], settings["data"]) == ("4", "null")


@pytest.mark.parametrize(
    "source",
    [
        "https://example.org/cspnext_rsb-600e.pth",
        "https://example.org/model.pth",
        "https://example.org/model-ff34753d.pt",
        "https://example.org/modelff34753d.pth",
        "https://example.org/model-ff34753.pth",
        "https://example.org/model-ff34753g.pth",
        "https://example.org/model-ff34753d.pth?download=1",
        "https://example.org/?file=model-ff34753d.pth",
        "https://model-ff34753d.pth",
        "ftp://example.org/model-ff34753d.pth",
        "torchvision://resnet18",
    ],
)
def test_a_download_address_must_contain_a_digest(problems, templates, source):
    for key, given in (("pretrained", source), ("pretrained.source", {"source": source})):
        (line,) = problems({"pretrained": given})
        assert line.startswith(f'{key}: found "')
        assert "whose file name ends in '-', the first 8 digits of the file's SHA-256" in line
        assert "download it and give its path" in line
    path = write_template(templates, f"{TEMPLATE}pretrained: '{source}'\n")
    (line,) = problems({"template": "bad"})
    assert line.startswith(f"{path}: pretrained: found ")


def test_a_path_may_look_like_anything(resolve):
    for path in ("http.pth", "a b/model.pt", "./none", "/data/x:y.pth"):
        settings = resolve({"data": DATA, "pretrained": path, "weights": path})[""]
        assert settings["pretrained"]["source"] == settings["weights"] == path


def test_a_template_may_not_set_the_optimizers_learning_rate(problems, templates):
    path = write_template(templates, TEMPLATE.replace("AdamW,", "AdamW, lr: 1e-3,"))
    (line,) = problems({"template": "bad"})
    assert line.startswith(f"{path}: optimizer.lr: found 0.001 (number), expected no key here")
    assert "learning_parameters.learning_rate" in line


@pytest.mark.parametrize(
    "path", ["/tmp/x", "results/", "../x", "a/./b", "a//b", "", ".", "a{b}", "a ", " a", "a\n", 4]
)
def test_results_is_a_plain_relative_folder(problems, path):
    (line,) = problems({"results": path})
    assert line.startswith("results: found ")
    assert ", expected the relative path of a folder whose parts are of letters, digits, " in line


@pytest.mark.parametrize("value", ["", 4, True, [URL]])
def test_pretrained_of_a_wrong_type(problems, value):
    (line,) = problems({"pretrained": value})
    assert line.startswith("pretrained: found ")
    assert (
        ", expected null, previous, a path, an http or https address whose file name ends in"
        in line
    )


@pytest.mark.parametrize(
    "name",
    [
        "dataset",
        "logs",
        "openvino",
        "pot",
        "nncf",
        "deploy",
        "demo",
        "checkpoints",
        "benchmarks",
        "confidence_threshold",
    ],
)
def test_reserved_names_of_runs(problems, resolve, name):
    (line,) = problems({"runs": {name: None}})
    assert line.startswith(
        f"runs.{name}: the build writes a file or folder of that name; reserved:"
    )
    assert {"dataset", "pot", "benchmarks"} <= set(line.split("reserved: ")[1].split(", "))
    assert f"{name}2" in resolve({"data": DATA, "runs": {f"{name}2": None}})


@pytest.mark.parametrize("name", ["a b", "-a", "_a", "a.b", "a/b", "", "é"])
def test_names_of_runs(problems, name):
    (line,) = problems({"runs": {name: None}})
    assert f'found "{name}" (string) as a name, expected a name of letters, digits' in line


def test_names_of_runs_that_yaml_does_not_read_as_text(problems):
    (line,) = problems({"runs": {8: None}})
    assert line.startswith("runs.8: found 8 (integer) as a name, expected a name of letters")


# Synonyms


def test_epochs_and_num_iters_are_the_same_setting(resolve, templates):
    for section in ("learning_parameters", "nncf_optimization"):
        by_name, by_synonym = (
            resolve({"data": DATA, section: {key: 9}}) for key in ("num_iters", "epochs")
        )
        assert by_name == by_synonym
        assert by_name[""][section]["num_iters"] == 9
    template = write_template(templates, TEMPLATE + "learning_parameters: {epochs: 7}\n")
    settings = resolve({"data": DATA, "template": str(template)})[""]
    assert settings["learning_parameters"]["num_iters"] == 7
    assert "epochs" not in settings["learning_parameters"]


@pytest.mark.parametrize("weaker, stronger", [("num_iters", "epochs"), ("epochs", "num_iters")])
def test_the_stronger_layer_wins_by_either_name(resolve, templates, weaker, stronger):
    def section(key, value):
        return {"learning_parameters": {key: value}}

    write_template(templates, TEMPLATE + f"learning_parameters: {{{weaker}: 1}}\n")
    file = {"data": DATA, "template": "bad", **section(stronger, 2), "runs": {"r": {}, "s": {}}}
    file["runs"]["r"] = section(weaker, 3)
    found = resolve(file, {"runs": {"s": section(weaker, "4")}})
    assert [run["learning_parameters"]["num_iters"] for run in found.values()] == [2, 3, 4]
    found = resolve(file, section(stronger, "5"))
    assert {run["learning_parameters"]["num_iters"] for run in found.values()} == {5}


def test_a_mistake_names_the_key_that_the_user_wrote(problems):
    (line,) = problems({"learning_parameters": {"epochs": "many"}})
    expected = "expected an integer, at least 1"
    assert line == f'learning_parameters.epochs: found "many" (string), {expected}'
    (line,) = problems({}, {"runs": {"r": {"nncf_optimization": {"epochs": "0"}}}})
    key = "runs.r.nncf_optimization.epochs (command line)"
    assert line == f"{key}: found 0 (integer), {expected}"


def test_both_names_in_one_layer(problems, templates):
    both = {"num_iters": 2, "epochs": 2}
    message = "epochs: another name for num_iters, which is also given; remove one"
    assert problems({"runs": {"r": {"nncf_optimization": both}}}) == [
        f"runs.r.nncf_optimization.{message}"
    ]
    (line,) = problems({}, {"learning_parameters": both})
    assert line == f"learning_parameters.{message}".replace("epochs:", "epochs (command line):")
    path = write_template(templates, TEMPLATE + f"learning_parameters: {both}\n")
    assert problems({"template": "bad"}) == [f"{path}: learning_parameters.{message}"]
