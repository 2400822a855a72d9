"""Settings of each run, merged from all their sources."""

import copy
import json

import configuration_case
import pytest
import yaml
from configuration_case import CONFIG, DATA, SCHEMA, TEMPLATE, TEMPLATES, write_template

from detmake.build import configuration, trials

resolve, problems = configuration_case.resolve, configuration_case.problems
templates = configuration_case.templates

EXPERIMENTS = sorted(CONFIG.glob("*.yaml"))


# Digests


def test_digests_say_which_key_of_a_result_changed(resolve):
    def changed(**edits):
        before, after = (
            configuration.digests(resolve({"data": DATA, **edit})[""]) for edit in ({}, edits)
        )
        assert before.keys() == after.keys()
        return {key for key in before if before[key] != after[key]}

    assert changed(learning_parameters={"seed": 7}) == {"learning_parameters"}
    assert changed(template="ssd_mobilenetv2") >= {"learning_parameters"}
    assert changed(demo={"seconds": 5}) == {"demo"}
    neutral = {"device": "cpu", "store": {"limit_gb": 1}, "plan": ["benchmark"], "minutes": 5}
    assert changed(**neutral, learning_parameters={"num_workers": 2}) == set()


# Defaults


def test_defaults_fill_keys_that_no_layer_sets(resolve):
    (settings,) = resolve().values()
    assert settings["learning_parameters"] == {
        "batch_size": 8,
        "learning_rate": 0.002,  # the template's
        "learning_rate_warmup_iters": 200,
        "learning_rate_schedule": "plateau",
        "learning_rate_patience": 3,
        "num_iters": 200,
        "enable_early_stopping": True,
        "early_stop_patience": 5,
        "use_adaptive_interval": True,
        "num_workers": "auto",
        "seed": 0,
        "balance": "none",
        "augmentation": "light",
        "stop_after": None,
    }
    assert settings["postprocessing"] == {
        "confidence_threshold": 0.35,
        "result_based_confidence_threshold": True,
    }
    assert settings["evaluation"] == {"subset": "test"}
    assert settings["pot_parameters"] == {
        "preset": "auto",
        "target": "vnni",
        "stat_subset_size": 300,
        "max_models": 16,
        "maximal_accuracy_degradation": 1.0,
        "on_degradation": "fail",
    }
    assert settings["resources"] == {"gpus": 1, "partition": None, "gpu_partition": None}
    assert settings["template"] == "atss_mobilenetv2"
    assert settings["device"] == "auto"
    assert settings["results"] == "results"
    assert settings["pretrained"] is settings["weights"] is None
    assert settings["bccd_url"].startswith("https://github.com/Shenggan/BCCD_Dataset/archive/d272f")
    assert "runs" not in settings


def test_default_learning_rate_is_the_tutorials(resolve):
    settings = resolve({"data": DATA, "template": "ssd_mobilenetv2"})[""]
    assert settings["learning_parameters"]["learning_rate"] == 0.004


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.name)
def test_experiments_of_the_project_resolve(path):
    experiment = yaml.safe_load(path.read_text())
    runs = configuration.resolve(experiment, {}, SCHEMA, TEMPLATES)
    declared = {run for run in runs if not trials.is_trial(run)}
    assert declared == {"", *(experiment.get("runs") or {})}
    assert all(settings["model"]["type"] for settings in runs.values())


@pytest.mark.parametrize("path", sorted((TEMPLATES).glob("*.yaml")), ids=lambda path: path.stem)
def test_templates_of_the_project_resolve(path):
    file_config = {"data": DATA, "template": path.stem}
    settings = configuration.resolve(file_config, {}, SCHEMA, TEMPLATES)[""]
    assert settings["name"] == yaml.safe_load(path.read_text())["name"]


# Precedence


def test_precedence_of_the_five_layers(resolve):
    # Each layer sets what the stronger ones leave alone and one thing that the next overrides.
    runs = resolve(
        {
            "data": DATA,
            "template": "ssd_mobilenetv2",  # batch_size 16
            "learning_parameters": {"num_iters": 20, "seed": 20, "num_workers": 2},
            "runs": {"other": {"learning_parameters": {"seed": 30, "num_workers": 3}}},
        },
        {"learning_parameters": {"num_workers": "4"}},
    )
    parameters = runs["other"]["learning_parameters"]
    assert parameters["early_stop_patience"] == 5  # schema
    assert parameters["batch_size"] == 16  # template
    assert parameters["num_iters"] == 20  # file
    assert parameters["seed"] == 30  # run
    assert parameters["num_workers"] == 4  # command line
    base = runs[""]["learning_parameters"]
    assert (base["seed"], base["num_workers"]) == (20, 4)


@pytest.mark.parametrize(
    ("learning", "rate"),
    [
        ({"batch_size": 16}, 0.004),  # the template's
        ({"batch_size": 64}, 0.008),
        ({"batch_size": 32}, 0.00566),
        ({"batch_size": 1}, 0.004),
        ({"batch_size": 64, "learning_rate": 0.004}, 0.004),
        ({"batch_size": 64, "learning_rate": 0.1}, 0.1),
    ],
)
def test_the_learning_rate_grows_with_the_batch_size_unless_it_is_given(resolve, learning, rate):
    template = {"data": DATA, "template": "ssd_mobilenetv2"}
    for layers in [
        (template | {"learning_parameters": learning},),
        (template, {"learning_parameters": {key: str(value) for key, value in learning.items()}}),
    ]:
        assert resolve(*layers)[""]["learning_parameters"]["learning_rate"] == rate


def test_a_learning_rate_for_all_runs_stays_when_a_run_has_another_batch_size(resolve):
    learning = {"learning_rate": 0.003}
    runs = {"large": {"learning_parameters": {"batch_size": 32}}}
    resolved = resolve({"data": DATA, "learning_parameters": learning, "runs": runs})
    assert resolved["large"]["learning_parameters"]["learning_rate"] == 0.003


def test_a_run_may_choose_another_template(resolve):
    runs = resolve({"data": DATA, "runs": {"ssd": {"template": "ssd_mobilenetv2"}}})
    assert runs[""]["name"] == "Small"
    assert runs["ssd"]["name"] == "Other"
    assert runs["ssd"]["learning_parameters"]["learning_rate"] == 0.004  # not the base template's
    assert runs["ssd"]["input_size"] == [416, 320]


def test_template_on_the_command_line_applies_to_every_run(resolve):
    runs = resolve(
        {"data": DATA, "runs": {"a": {"template": "atss_mobilenetv2"}}},
        {"template": "ssd_mobilenetv2"},
    )
    assert [settings["name"] for settings in runs.values()] == ["Other", "Other"]


def test_lists_are_replaced_and_data_is_merged(resolve):
    run = {"input_size": [64, 96], "data": {"test": {"ann-files": "test.json"}}}
    runs = resolve({"data": DATA, "input_size": [128, 128], "runs": {"small": run}})
    assert runs["small"]["input_size"] == [64, 96]
    assert runs["small"]["data"] == {**DATA, "test": {"ann-files": "test.json"}}
    assert runs[""]["data"] == DATA


def test_data_as_a_path_replaces_a_mapping_and_the_other_way(resolve):
    assert resolve({"data": DATA, "runs": {"a": {"data": "d.yaml"}}})["a"]["data"] == "d.yaml"
    assert resolve({"data": "d.yaml", "runs": {"a": {"data": DATA}}})["a"]["data"] == DATA


def test_data_of_another_form_replaces_a_mapping(resolve):
    one = {"source": "all.json", "split": {"val": 0.2, "test": 0.1}, "classes": ["a"]}
    both = {"data": DATA, "runs": {"a": {"data": one}}}
    assert resolve(both)["a"]["data"] == one
    swapped = {"data": one, "runs": {"a": {"data": DATA}, "b": {"data": {"train": DATA["train"]}}}}
    runs = resolve(swapped)
    assert runs["a"]["data"] == DATA
    assert runs["b"]["data"] == {"train": DATA["train"]}
    # One form is merged, on the command line as well.
    swapped["runs"] = {"a": {"data": {"split": {"val": 0.3}}}}
    runs = resolve(swapped, {"data": {"source": "other.json"}})
    merged = one | {"source": "other.json", "split": {"val": 0.3, "test": 0.1}}
    assert runs["a"]["data"] == merged
    assert resolve(both, {"data": {"seed": 3}})["a"]["data"] == one | {"seed": 3}


def test_tiling_is_off_or_has_all_its_keys(resolve):
    base, runs = {"size": 512, "whole_image": False}, {"a": {"tiling": {"overlap": 0}}}
    runs |= {"b": {"tiling": None}, "c": {"tiling": {"size": "auto"}}, "d": {}}
    found = resolve({"data": DATA, "tiling": base, "runs": runs})
    whole = {"size": 512, "overlap": 0.2, "whole_image": False}
    assert [found[run]["tiling"] for run in ("", *"abcd")] == [
        *(whole, whole | {"overlap": 0.0}, None, whole | {"size": "auto"}, whole),
    ]
    assert resolve()[""]["tiling"] is None
    automatic = {"size": "auto", "overlap": 0.2, "whole_image": True}
    assert resolve({"data": DATA, "tiling": {}})[""]["tiling"] == automatic
    from_line = resolve({"data": DATA}, {"tiling": {"size": "640", "overlap": "0.1"}})
    assert from_line[""]["tiling"] == {"size": 640, "overlap": 0.1, "whole_image": True}
    assert resolve({"data": DATA, "tiling": base}, {"tiling": "none"})[""]["tiling"] is None


@pytest.mark.parametrize(
    ("tiling", "message"),
    [
        ({"size": 63}, "tiling.size: found 63"),
        ({"size": 100.5}, "tiling.size: found 100.5"),
        ({"size": "large"}, 'tiling.size: found "large"'),
        ({"overlap": 0.6}, "tiling.overlap: found 0.6 (number), expected"),
        ({"overlap": -0.1}, "tiling.overlap: found -0.1 (number), expected"),
        ({"whole_image": 3}, "tiling.whole_image: found 3"),
        ({"sise": 100}, "tiling.sise: unknown key (did you mean size?)"),
        ("auto", 'tiling: found "auto" (string), expected null, or a mapping of size'),
    ],
)
def test_wrong_tiling_is_refused(problems, tiling, message):
    (line,) = problems({"tiling": tiling})
    print(line)
    assert line.startswith(message)


def test_classes_are_replaced_as_a_whole(resolve):
    base = {"source": "all.json", "split": "auto", "classes": {"car": ["car"], "dog": ["dog"]}}
    changed = {"classes": {"vehicle": ["car", "van"]}}
    runs = resolve({"data": base, "runs": {"a": {"data": changed}}})
    assert runs["a"]["data"] == base | changed
    assert runs[""]["data"] == base


def test_command_line_may_give_data_and_declare_a_run(resolve):
    runs = resolve(
        {"data": DATA, "learning_parameters": {"seed": 1}},
        {"data": "BCCD", "runs": {"s": {"learning_parameters": {"seed": "2"}}}},
    )
    assert runs[""]["data"] == runs["s"]["data"] == "BCCD"
    assert [settings["learning_parameters"]["seed"] for settings in runs.values()] == [1, 2]


def test_run_of_the_command_line_beats_its_base(resolve):
    runs = resolve(
        {"data": DATA, "runs": {"s": {"device": "auto"}}},
        {"device": "cpu", "runs": {"s": {"device": "cuda"}}},
    )
    assert (runs[""]["device"], runs["s"]["device"]) == ("cpu", "cuda")


def test_sections_without_content_count_as_absent(resolve):
    runs = resolve(
        {
            "data": {**DATA, "test": None},
            "learning_parameters": None,
            "runs": {"same": None, "also": {"evaluation": None, "data": None}},
        },
        {"postprocessing": "null"},
    )
    assert runs["same"] == runs["also"] == runs[""]
    assert runs[""]["data"] == DATA
    assert runs[""]["postprocessing"]["confidence_threshold"] == 0.35
    assert set(resolve({"data": DATA, "runs": None})) == {""}


def test_inputs_are_not_changed_and_runs_share_no_objects(resolve):
    given = {"data": copy.deepcopy(DATA), "runs": {"a": {"device": "CPU"}, "b": None}}
    before = copy.deepcopy(given)
    runs = resolve(given)
    runs["a"]["model"]["backbone"].clear()
    runs["a"]["data"]["train"].clear()
    runs["a"]["input_size"].clear()
    assert given == before
    assert runs["b"] == resolve(before)["b"]


# Backbone


NETWORK = {"type": "MobileNetV2", "out_indices": [2, 4]}  # the template's
RESNET = {"type": "ResNet", "depth": 18}
HALF = {"widen_factor": 0.5}


@pytest.mark.parametrize(
    ("file", "run", "line", "expected"),
    [
        (None, None, None, NETWORK),
        (HALF, None, None, {**NETWORK, **HALF}),
        ({"type": "MobileNetV2", **HALF}, None, None, {**NETWORK, **HALF}),
        ({"out_indices": [1]}, None, None, {**NETWORK, "out_indices": [1]}),
        (RESNET, None, None, RESNET),
        (HALF, RESNET, None, RESNET),
        (HALF, None, {"frozen_stages": 1}, {**NETWORK, **HALF, "frozen_stages": 1}),
        (RESNET, {"depth": 50}, {"style": "caffe"}, {**RESNET, "depth": 50, "style": "caffe"}),
        (RESNET, None, {"type": "SSDVGG"}, {"type": "SSDVGG"}),
        (RESNET, {"type": "MobileNetV2", **HALF}, None, {**NETWORK, **HALF}),
        (RESNET, {"type": "ResNet", "base_channels": 32}, None, {**RESNET, "base_channels": 32}),
        (
            {"norm_cfg": {"type": "BN", "eps": 1e-3}},
            {"norm_cfg": {"type": "GN"}},
            {"norm_cfg": {"num_groups": 8}},
            {**NETWORK, "norm_cfg": {"type": "GN", "num_groups": 8}},
        ),
    ],
)
def test_backbone_is_merged_into_one_of_its_type_and_replaces_another(
    resolve, file, run, line, expected
):
    given = {"data": DATA, "backbone": file, "runs": {"r": {"backbone": run}}}
    settings = resolve(given, {"backbone": line})["r"]
    assert settings["model"] == {"type": "ATSS", "backbone": expected}
    assert "backbone" not in settings


def test_backbone_is_merged_into_the_backbone_of_the_runs_template(resolve, templates):
    (templates / "resnet.yaml").write_text(
        TEMPLATE.replace("MobileNetV2, out_indices: [2, 4]", "ResNet, depth: 101, style: caffe")
    )
    runs = resolve({"data": DATA, "backbone": RESNET, "runs": {"r": {"template": "resnet"}}})
    assert runs[""]["model"]["backbone"] == RESNET
    assert runs["r"]["model"]["backbone"] == {**RESNET, "style": "caffe"}


def test_backbone_of_the_command_line_has_numbers_again(resolve):
    text = {
        "type": "ResNet",
        "depth": "18",
        "widen_factor": "1.0",
        "out_indices": ["1", "2"],
        "norm_eval": "false",
        "style": "pytorch",
        "norm_cfg": {"type": "BN", "eps": "1e-3", "requires_grad": "True"},
        "plugins": [{"position": "after_conv1", "stages": ["false", "true"]}],
        "init_cfg": "null",
        "dcn": "None",
    }
    expected = {
        "type": "ResNet",
        "depth": 18,
        "widen_factor": 1.0,
        "out_indices": [1, 2],
        "norm_eval": False,
        "style": "pytorch",
        "norm_cfg": {"type": "BN", "eps": 0.001, "requires_grad": True},
        "plugins": [{"position": "after_conv1", "stages": [False, True]}],
        "init_cfg": None,
        "dcn": None,
    }
    base = resolve(None, {"backbone": text})[""]["model"]["backbone"]
    run = resolve(None, {"runs": {"r": {"backbone": text}}})["r"]["model"]["backbone"]
    assert repr(base) == repr(run) == repr(expected)  # 1 == 1.0 == True
    whole = resolve(None, {"backbone": "{type: ResNet, depth: 18}"})[""]
    assert whole["model"]["backbone"] == RESNET


def test_values_of_a_backbone_in_the_file_stay(resolve):
    given = {**RESNET, "depth": 18.0, "strides": [1, 2], "deep_stem": True, "init_cfg": None}
    found = resolve({"data": DATA, "backbone": given})[""]["model"]["backbone"]
    assert repr(found) == repr(given)


@pytest.mark.parametrize("value", [None, "null", {}])
def test_empty_backbone_counts_as_absent(resolve, value):
    runs = resolve({"data": DATA, "backbone": HALF}, {"backbone": value})
    assert runs[""]["model"]["backbone"] == {**NETWORK, **HALF}


# Pretrained weights


URL = "https://example.org/v3.0/atss/atss_r50-ff34753d.pth"
OTHER = "http://example.org/other-0123abcd.pth"


@pytest.fixture
def with_pretrained(templates):
    """Give the default template weights of its own."""

    def call(value="{source: own.pth, channel_order: bgr}"):
        (templates / "atss_mobilenetv2.yaml").write_text(f"{TEMPLATE}pretrained: {value}\n")

    return call


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (URL, {"source": URL, "channel_order": None}),
        ("weights/resnet.pth", {"source": "weights/resnet.pth", "channel_order": None}),
        ({"source": OTHER}, {"source": OTHER, "channel_order": None}),
        ({"source": URL, "channel_order": "RGB"}, {"source": URL, "channel_order": "rgb"}),
        (None, None),
        ("null", None),
        ("NULL", None),
        ("None", None),
    ],
)
@pytest.mark.parametrize("layer", ["template", "file", "run", "line"])
def test_pretrained_has_one_form_and_the_strongest_layer_counts(
    resolve, with_pretrained, layer, value, expected
):
    if layer == "template":
        with_pretrained(json.dumps(value))
        assert resolve()[""]["pretrained"] == expected
        return
    with_pretrained()
    run = {"pretrained": {"source": "run.pth", "channel_order": "bgr"}}
    given = {"data": DATA, "pretrained": "file.pth", "runs": {"r": {} if layer == "file" else run}}
    line = {}
    {"file": given, "run": run, "line": line}[layer]["pretrained"] = value
    assert resolve(given, line)["r"]["pretrained"] == expected


def test_pretrained_may_be_null(resolve, with_pretrained):
    with_pretrained("")
    assert resolve()[""]["pretrained"] is None
    with_pretrained("old.pth")
    assert resolve({"data": DATA, "pretrained": None})[""]["pretrained"] is None


def test_pretrained_of_the_template_is_that_of_its_own_backbone(resolve, with_pretrained):
    with_pretrained()
    own = {"source": "own.pth", "channel_order": "bgr"}
    runs = {
        "half": {"backbone": HALF},
        "same": {"backbone": {"type": "MobileNetV2"}},
        "resnet": {"backbone": RESNET},
        "given": {"backbone": RESNET, "pretrained": "resnet.pth"},
    }
    found = resolve({"data": DATA, "runs": runs})
    assert found["half"]["pretrained"] == found["same"]["pretrained"] == own
    assert found["resnet"]["pretrained"] is None
    assert found["given"]["pretrained"] == {"source": "resnet.pth", "channel_order": None}
    found = resolve({"data": DATA, "pretrained": "file.pth", "runs": runs})
    assert found["resnet"]["pretrained"] == {"source": "file.pth", "channel_order": None}


# The user's own weights


@pytest.mark.parametrize("value", [None, "null", "NONE"])
def test_weights_of_the_strongest_layer(resolve, value):
    runs = {"r": {"weights": "run.pth"}, "s": {"weights": value}}
    found = resolve({"data": DATA, "weights": "file.pth", "runs": runs})
    assert {name: run["weights"] for name, run in found.items()} == {
        "": "file.pth",
        "r": "run.pth",
        "s": None,
    }
    found = resolve({"data": DATA, "weights": "file.pth", "runs": runs}, {"weights": value})
    assert {run["weights"] for run in found.values()} == {None}


# Templates


def test_settings_hold_the_template(resolve):
    settings = resolve()[""]
    assert (settings["name"], settings["id"]) == ("Small", "Small_Detector")
    assert settings["model"]["backbone"] == {"type": "MobileNetV2", "out_indices": [2, 4]}
    assert settings["pipeline"] == [{"type": "RandomFlip", "prob": 0.5}]
    assert settings["optimizer"] == {"type": "AdamW", "weight_decay": 0.05}  # written as 5e-2
    assert settings["input_size"] == [512, 384]


def test_template_by_path(resolve, tmp_path, monkeypatch):
    own = tmp_path / "own" / "mine.yaml"
    own.parent.mkdir()
    own.write_text(TEMPLATE.replace("Small", "Mine"))
    assert resolve({"data": DATA, "template": str(own)})[""]["name"] == "Mine"
    monkeypatch.chdir(own.parent)
    assert resolve({"data": DATA, "template": "mine.yaml"})[""]["name"] == "Mine"


@pytest.mark.parametrize(
    "name", ["atss_mobilnetv2", "missing/file.yaml", "../templates/ssd_mobilenetv2"]
)
def test_unknown_template_lists_the_names(problems, templates, name):
    (line,) = problems({"template": name})
    assert line.startswith(f'template: found "{name}" (string)')
    assert line.endswith(f"in {templates}: atss_mobilenetv2, ssd_mobilenetv2")


def test_unknown_template_suggests_a_close_name(problems):
    (line,) = problems({"template": "atss_mobilnetv2"})
    assert " (did you mean atss_mobilenetv2?), expected " in line


def test_template_path_must_be_of_a_yaml_file(problems, tmp_path):
    path = tmp_path / "template.txt"
    path.write_text(TEMPLATE)
    (line,) = problems({"template": str(path)})
    assert "expected the path of a .yaml file" in line


def test_unknown_template_names_the_run_or_command_line(problems):
    (line,) = problems({"runs": {"x": {"template": "ssd"}, "y": None}})
    assert line.startswith('runs.x.template: found "ss')
    (line,) = problems({"runs": {"x": None}}, {"template": "ssd"})
    assert line.startswith('template (command line): found "ssd"')


def test_mistakes_in_a_template_name_its_file(problems, templates):
    path = write_template(
        templates,
        TEMPLATE.replace("optimizer", "optimiser")
        + "task: DETECTION\ninput_size: [512]\nlearning_parameters: {batch_size: 0}\n",
    )
    lines = problems({"template": "bad", "runs": {"a": {"device": "cpu"}}})
    assert all(line.startswith(f"{path}: ") for line in lines)
    text = [line.removeprefix(f"{path}: ") for line in lines]
    assert "optimizer: missing, expected an MMEngine dict of the optimizer" in text
    assert any(line.startswith("optimiser: unknown key (did you mean optimizer?)") for line in text)
    assert any(line.startswith("task: unknown key; allowed: name, id, model") for line in text)
    assert any(
        line.startswith("input_size: found [512] (list), expected a list of 2") for line in text
    )
    assert (
        "learning_parameters.batch_size: found 0 (integer), expected an integer, at least 1" in text
    )
    assert len(text) == 5


@pytest.mark.parametrize(
    "key",
    [
        *("name", "id", "model", "pipeline", "optimizer"),
        *("model.type", "model.backbone", "model.backbone.type"),
    ],
)
def test_template_must_be_complete(problems, templates, key):
    content = yaml.safe_load(TEMPLATE)
    *sections, last = key.split(".")
    part = content
    for section in sections:
        part = part[section]
    del part[last]
    path = write_template(templates, yaml.safe_dump(content))
    (line,) = problems({"template": "bad"})
    assert line.startswith(f"{path}: {key}: missing, expected ")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("model: [1", "cannot be read as YAML: "),
        ("name: a\nid: b\nname: c", "cannot be read as YAML: found the key name in lines 1 and 3."),
        ("{name: a, name: c}", "cannot be read as YAML: found the key name in lines 1 and 1."),
        ("", "found null, expected a mapping"),
        ("- a\n- b", 'found ["a", "b"] (list), expected a mapping'),
    ],
)
def test_a_file_that_is_not_a_template(problems, templates, text, found):
    path = write_template(templates, text)
    (line,) = problems({"template": str(path)})
    assert line.startswith(f"{path}: {found}")


# Errors


def test_a_batch_that_gpus_cannot_share_evenly(problems, resolve):
    """Each mistake is reported once, before any job runs."""
    found = problems(
        {
            "resources": {"gpus": 3},
            "runs": {
                "alike": {},
                "even": {"resources": {"gpus": 2}},
                "own": {"resources": {"gpus": 5}},
            },
        }
    )
    assert found == [
        f"{place}learning_parameters.batch_size: found 8 (integer), expected a multiple of "
        f"resources.gpus, {gpus}, which share each batch evenly"
        for place, gpus in (("", 3), ("runs.own.", 5))
    ]
    assert resolve({"data": DATA, "resources": {"gpus": 4}})[""]["resources"]["gpus"] == 4


def test_the_previous_snapshot_needs_the_store(problems):
    runs = {"later": {"pretrained": "previous"}, "other": {"pretrained": None}}
    (found,) = problems({"store": {"enabled": False}, "runs": runs})
    assert found.startswith("runs.later.pretrained: found previous, a snapshot of the store, but")
    assert problems({"pretrained": {"source": "previous"}, "store": {"enabled": "false"}})


def test_a_run_is_not_named_like_the_folder_of_the_results(problems):
    (line,) = problems({"results": "mine", "runs": {"mine": None, "results": None}})
    assert line.startswith("runs.mine: found the name of the folder `results`")


def test_data_is_required(problems):
    (line,) = problems({"runs": {"a": None, "b": {"device": "cpu"}}}, with_data=False)
    assert line.startswith("data: missing, expected the path of a dataset folder")


def test_pretrained_is_replaced_as_a_whole(problems, resolve):
    with_order = {"source": "x.pth", "channel_order": "rgb"}
    (line,) = problems(
        {"pretrained": with_order, "runs": {"r": {"pretrained": {"channel_order": "bgr"}}}}
    )
    assert line.startswith(
        "runs.r.pretrained.source: missing, expected previous, a path, or an http"
    )
    runs = {"r": {"pretrained": {"source": "x.pth"}}}
    found = resolve({"data": DATA, "pretrained": with_order, "runs": runs})
    assert found["r"]["pretrained"]["channel_order"] is None


def test_a_key_missing_in_one_run_is_reported_for_that_run(problems):
    (line,) = problems({"data": "d.yaml", "runs": {"a": {"data": {"train": {"data-roots": "x"}}}}})
    assert line.startswith("runs.a.data.train.ann-files: missing, expected the path of a COCO")


def test_command_line_is_named(problems):
    (line,) = problems({}, {"learning_parameters": {"batch_size": "0"}})
    assert line == (
        "learning_parameters.batch_size (command line): found 0 (integer), "
        "expected an integer, at least 1"
    )


def test_a_file_for_a_newer_detmake_is_refused(problems):
    (line,) = problems({"schema_version": 2})
    assert line.startswith("schema_version: found 2 (integer), expected the version of these keys")
    assert "a newer file needs a newer detmake" in line


def test_all_sources_are_reported_at_once(problems, templates):
    path = write_template(templates, TEMPLATE + "bogus: 1\n")
    lines = problems(
        {
            "template": "bad",
            "device": "tpu",
            "runs": {"pot": None, "a": {"evaluation": {"subset": "x"}, "template": "nowhere"}},
        },
        {"input_size": "wide"},
        with_data=False,
    )
    assert {line.split(": ")[0] for line in lines} == {
        "device",
        "runs.pot",
        "runs.a.evaluation.subset",
        "input_size (command line)",
        str(path),
        "data",
        "runs.a.template",
    }
    assert len(lines) == 7


def test_many_errors_fit_on_a_screen(problems):
    lines = problems({f"key{i}": i for i in range(40)})
    assert len(lines) == 11
    assert lines[-1] == "... and 30 more"
