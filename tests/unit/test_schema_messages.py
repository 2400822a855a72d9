"""Messages about values that do not fit the schema."""

import configuration_case
import pytest
from configuration_case import DATA

resolve, problems = configuration_case.resolve, configuration_case.problems
templates = configuration_case.templates

RESNET = {"type": "ResNet", "depth": 18}


def test_unknown_key_names_the_allowed_ones_and_a_close_match(problems):
    (line,) = problems({"learning_parameters": {"batchsize": 4}})
    assert line == (
        "learning_parameters.batchsize: unknown key (did you mean batch_size?); allowed: "
        "batch_size, learning_rate, learning_rate_warmup_iters, learning_rate_schedule, "
        "learning_rate_patience, num_iters, epochs, stop_after, enable_early_stopping, "
        "early_stop_patience, use_adaptive_interval, num_workers, seed, balance, "
        "augmentation"
    )


@pytest.mark.parametrize(
    ("given", "start"),
    [
        ({"tempalte": "x"}, "tempalte: unknown key (did you mean template?); allowed: template, "),
        (
            {"batch_size": 4},
            "batch_size: unknown key (did you mean learning_parameters.batch_size?)",
        ),
        ({"zzz": 4}, "zzz: unknown key; allowed: template, "),
        ({1: 4}, "1: unknown key; allowed: template, "),
        ({"model": {"type": "SSD"}}, "model: unknown key"),
        ({"name": "mine"}, "name: unknown key"),
        ({"runs": {"a": {"results": "x"}}}, "runs.a.results: unknown key; allowed: template, "),
        ({"runs": {"a": {"runs": {}}}}, "runs.a.runs: unknown key"),
        ({"pot_parameters": {"num_iters": 1}}, "pot_parameters.num_iters: unknown key"),
        ({"epochs": 9}, "epochs: unknown key (did you mean learning_parameters.epochs?)"),
    ],
)
def test_unknown_keys(problems, given, start):
    (line,) = problems(given)
    assert line.startswith(start)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            {"learning_parameters": {"batch_size": "four"}},
            'learning_parameters.batch_size: found "four" (string), '
            "expected an integer, at least 1",
        ),
        (
            {"learning_parameters": {"batch_size": True}},
            "learning_parameters.batch_size: found true (boolean), expected an integer, at least 1",
        ),
        (
            {"learning_parameters": {"num_workers": "many"}},
            'learning_parameters.num_workers: found "many" (string), '
            "expected number of processes that load images, at least 0, or auto",
        ),
        (
            {"learning_parameters": {"num_workers": -1}},
            "learning_parameters.num_workers: found -1 (integer), "
            "expected number of processes that load images, at least 0, or auto",
        ),
        (
            {"learning_parameters": {"num_iters": 2.5}},
            "learning_parameters.num_iters: found 2.5 (number), expected an integer, at least 1",
        ),
        (
            {"learning_parameters": {"seed": None}},
            "learning_parameters.seed: found null, expected an integer, at least 0, "
            "at most 4294967295",
        ),
        (
            {"learning_parameters": {"learning_rate": 0}},
            "learning_parameters.learning_rate: found 0.0 (number), "
            "expected a finite number, above 0",
        ),
        (
            {"learning_parameters": {"learning_rate": ".nan"}},
            "learning_parameters.learning_rate: found NaN (number), "
            "expected a finite number, above 0",
        ),
        (
            {"learning_parameters": {"learning_rate": float("inf")}},
            "learning_parameters.learning_rate: found Infinity (number), expected a finite number, "
            "above 0",
        ),
        (
            {"learning_parameters": {"learning_rate": True}},
            "learning_parameters.learning_rate: found true (boolean), "
            "expected a finite number, above 0",
        ),
        (
            {"learning_parameters": {"batch_size": "[4"}},
            'learning_parameters.batch_size: found "[4" (string), expected an integer, at least 1',
        ),
        (
            {"template": ""},
            'template: found "" (string), expected a string, not empty',
        ),
        (
            {"template": 5},
            "template: found 5 (integer), expected a string, not empty",
        ),
        (
            {"learning_parameters": {"enable_early_stopping": 1}},
            "learning_parameters.enable_early_stopping: found 1 (integer), expected true or false",
        ),
        (
            {"learning_parameters": {"learning_rate_schedule": "step"}},
            'learning_parameters.learning_rate_schedule: found "step" (string), '
            "expected one of plateau, cosine",
        ),
        (
            {"learning_parameters": [1]},
            "learning_parameters: found [1] (list), expected a mapping",
        ),
        (
            {"postprocessing": {"confidence_threshold": 1.5}},
            "postprocessing.confidence_threshold: found 1.5 (number), "
            "expected a finite number, at least 0, at most 1",
        ),
        (
            {"evaluation": {"subset": "train"}},
            'evaluation.subset: found "train" (string), expected one of val, test',
        ),
        (
            {"learning_parameters": {"augmentation": "heavy"}},
            'learning_parameters.augmentation: found "heavy" (string), expected one of none, '
            "light, strong",
        ),
        (
            {"input_size": [416, 300]},
            "input_size[1]: found 300 (integer), "
            "expected an integer, at least 64, at most 2048, a multiple of 32",
        ),
        (
            {"input_size": [32, 64]},
            "input_size[0]: found 32 (integer), "
            "expected an integer, at least 64, at most 2048, a multiple of 32",
        ),
        (
            {"input_size": 416},
            "input_size: found 416 (integer), expected a list of 2, each an integer, at least 64, "
            "at most 2048, a multiple of 32",
        ),
        (
            {"data": {"source": "a", "split": {"val": 20}}},
            "data.split.val: found 20.0 (number), expected a finite number, above 0, below 1",
        ),
        (
            {"data": {"source": "a", "classes": {"vehicle": []}}},
            "data.classes.vehicle: found [] (list), "
            "expected a list of 1 or more, each a class name, without line breaks and with "
            "single spaces between words",
        ),
        (
            {"data": {**DATA, "val": {"data-roots": "val"}}},
            "data.val.ann-files: missing, expected the path of a COCO or CVAT annotation file, or "
            "of a folder of Pascal VOC's XML files",
        ),
        (
            {"runs": {"slow": {"learning_parameters": {"seed": -1}}}},
            "runs.slow.learning_parameters.seed: found -1 (integer), "
            "expected an integer, at least 0, at most 4294967295",
        ),
        (
            {"runs": {"slow": 5}},
            "runs.slow: found 5 (integer), expected a mapping",
        ),
        ({"backbone": "ResNet"}, 'backbone: found "ResNet" (string), expected a mapping'),
        (
            {"backbone": [RESNET]},
            'backbone: found [{"type": "ResNet", "depth": 18}] (list), expected a mapping',
        ),
        (
            {"runs": {"r": {"backbone": {"type": 18}}}},
            "runs.r.backbone.type: found 18 (integer), expected a string, not empty",
        ),
        (
            {"backbone": {"norm_cfg": {"eps": [".nan"]}}},
            "backbone.norm_cfg.eps[0]: found NaN (number), "
            "expected a value that MMDetection accepts, with finite numbers",
        ),
        (
            {"pretrained": {"source": "x.pth", "channel_order": "gbr"}},
            'pretrained.channel_order: found "gbr" (string), expected one of rgb, bgr',
        ),
        (
            {"pretrained": {"source": "x.pth", "channels": "rgb"}},
            "pretrained.channels: unknown key; allowed: source, channel_order, license",
        ),
        (
            {"weights": ""},
            'weights: found "" (string), expected the path of a finished snapshot or '
            "checkpoint, or null",
        ),
        (
            {"weights": 4},
            "weights: found 4 (integer), expected the path of a finished snapshot or "
            "checkpoint, or null",
        ),
        (
            {"resources": {"gpus": 0}},
            "resources.gpus: found 0 (integer), expected an integer, at least 1",
        ),
        (
            {"resources": {"partition": ""}},
            'resources.partition: found "" (string), expected the Slurm partition '
            "for jobs without a GPU, or null for the cluster's default",
        ),
    ],
)
def test_wrong_values(problems, given, line):
    assert problems(given) == [line]


def test_long_values_are_shortened(problems):
    (line,) = problems({"device": "x" * 500})
    assert line.endswith("... (string), expected one of auto, cpu, cuda")
    assert len(line) < 150
