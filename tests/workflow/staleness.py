"""What makes which rules run again: the data of a test, and of the table in config/README.md.

`python tests/workflow/staleness.py` writes the table.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
MANUAL = ROOT / "config/README.md"
START, END = "<!-- tests/workflow/staleness.py writes this table -->\n", "<!-- end -->\n"

#: Rules that read what each rule writes.
READERS = {
    "draw_cells": ["prepare_dataset"],
    "download_bccd": ["convert_bccd"],
    "convert_bccd": ["prepare_dataset"],
    "download_pretrained": ["train"],
    "prepare_dataset": ["train", "adopt_weights", "quantize_pot", "quantize_nncf", "evaluate_ir"],
    "train": ["evaluate_snapshot", "export", "quantize_nncf"],
    "adopt_weights": ["evaluate_snapshot", "export", "quantize_nncf"],
    "export": ["quantize_pot", "evaluate_ir"],
    "quantize_pot": ["evaluate_ir", "demo"],
    "quantize_nncf": ["evaluate_ir"],
    "evaluate_snapshot": ["compare"],
    "evaluate_ir": ["deploy", "compare"],
    "deploy": [],
    "demo": [],
    "compare": [],
    "benchmark": [],
}
#: Rules whose results the speed is measured of.
_MEASURED = {"train", "adopt_weights", "export", "quantize_pot", "quantize_nncf", "prepare_dataset"}


def follow(*rules: str) -> frozenset[str]:
    """Return rules and all rules that depend on their results."""
    found, waiting = set(), list(rules)
    while waiting:
        rule = waiting.pop()
        if rule not in found:
            found.add(rule)
            waiting += READERS[rule] + (["benchmark"] if rule in _MEASURED else [])
    return frozenset(found)


NOTHING = follow()
TRAINING = follow("train", "adopt_weights")
LEARNING = follow("train", "quantize_nncf")
EVALUATION = follow("evaluate_snapshot", "evaluate_ir")
# The other subset is shown and measured, too.
SUBSET = EVALUATION | follow("demo", "benchmark")
POT = follow("quantize_pot")
NNCF = follow("quantize_nncf")
PREPARATION = follow("prepare_dataset")
# Training checks the test subset but does not use it.
PREPARATION_OF_TEST = SUBSET | {"prepare_dataset"}
RUN = PREPARATION - follow("quantize_nncf") | {"compare", "evaluate_ir", "quantize_pot"}
DATA = {
    subset: {"ann-files": f"data/{folder}/_annotations.coco.json"}
    for subset, folder in {"train": "train", "val": "valid", "test": "test"}.items()
}


def _data(subset: str, **changes: str) -> dict[str, Any]:
    return {"data": DATA | {subset: DATA[subset] | changes}}


def _other(subset: str) -> tuple[dict[str, Any], dict[str, Any]]:
    folder = DATA[subset]["ann-files"].split("/")[1]
    return (
        _data(subset, **{"ann-files": f"other/{folder}/_annotations.coco.json"}),
        _data(subset, **{"data-roots": f"other/{folder}"}),
    )


#: For each key of the configuration: a change of it, and the rules that run again.
KEYS: dict[str, tuple[Mapping[str, Any], frozenset[str]]] = {
    "data": ({"data": "other"}, PREPARATION),
    "data.train.ann-files": (_other("train")[0], PREPARATION),
    "data.train.data-roots": (_other("train")[1], PREPARATION),
    "data.val.ann-files": (_other("val")[0], PREPARATION),
    "data.val.data-roots": (_other("val")[1], PREPARATION),
    "data.test.ann-files": (_other("test")[0], PREPARATION_OF_TEST),
    "data.test.data-roots": (_other("test")[1], PREPARATION_OF_TEST),
    "template": ({"template": "ssd_mobilenetv2"}, TRAINING),
    "input_size": ({"input_size": [160, 128]}, TRAINING),
    "backbone": ({"backbone": {"widen_factor": 0.5}}, TRAINING),
    "backbone.type": ({"backbone": {"type": "ResNet", "depth": 18}}, TRAINING),
    "pretrained": ({"pretrained": "pretrained.pth"}, follow("train")),
    "pretrained.source": ({"pretrained": {"source": "pretrained.pth"}}, follow("train")),
    "pretrained.channel_order": (
        {"pretrained": {"source": "pretrained.pth", "channel_order": "rgb"}},
        follow("train"),
    ),
    "weights": ({"weights": "finished.pth"}, follow("adopt_weights")),
    "device": ({"device": "cpu"}, NOTHING),
    "results": (
        {"results": "elsewhere"},
        PREPARATION,
    ),
    "runs": ({"runs": {"slow": {"input_size": [160, 128]}}}, RUN),
    "bccd_url": ({"bccd_url": "http://localhost/bccd.zip"}, follow("download_bccd")),
    "plan": ({"plan": ["benchmark"]}, NOTHING),
    **{
        f"learning_parameters.{key}": (
            {"learning_parameters": {key: value}},
            NOTHING if key == "num_workers" else LEARNING,
        )
        for key, value in {
            "epochs": 25,
            "num_iters": 25,
            "batch_size": 8,
            "learning_rate": 0.001,
            "learning_rate_warmup_iters": 5,
            "learning_rate_schedule": "plateau",
            "learning_rate_patience": 4,
            "enable_early_stopping": True,
            "early_stop_patience": 6,
            "use_adaptive_interval": False,
            "num_workers": 2,
            "seed": 1,
        }.items()
    },
    "postprocessing.confidence_threshold": (
        {"postprocessing": {"confidence_threshold": 0.9}},
        EVALUATION,
    ),
    "postprocessing.result_based_confidence_threshold": (
        {"postprocessing": {"result_based_confidence_threshold": False}},
        EVALUATION,
    ),
    "evaluation.subset": ({"evaluation": {"subset": "val"}}, SUBSET),
    **{
        f"pot_parameters.{key}": ({"pot_parameters": {key: value}}, POT)
        for key, value in {
            "preset": "mixed",
            "stat_subset_size": 5,
            "maximal_accuracy_degradation": 99,
            "on_degradation": "warn",
        }.items()
    },
    **{
        f"nncf_optimization.{key}": ({"nncf_optimization": {key: value}}, NNCF)
        for key, value in {
            "epochs": 9,
            "num_iters": 9,
            "learning_rate": 0.001,
            "maximal_accuracy_degradation": 99,
            "on_degradation": "warn",
            "preset": "performance",
            "stat_subset_size": 5,
        }.items()
    },
    "resources.gpus": ({"resources": {"gpus": 2}}, NOTHING),
    "resources.gpu_partition": ({"resources": {"gpu_partition": "gpu"}}, NOTHING),
    "resources.partition": ({"resources": {"partition": "long"}}, NOTHING),
    "demo.source": ({"demo": {"source": "data/train"}}, follow("demo")),
    "demo.model": ({"demo": {"model": "openvino"}}, follow("demo")),
    "demo.seconds": ({"demo": {"seconds": 5}}, follow("demo")),
}

#: Columns of the table, and the rules that each is about.
COLUMNS = {
    "data": {"prepare_dataset"},
    "training": {"train", "adopt_weights"},
    "export": {"export"},
    "post-training quantization": {"quantize_pot"},
    "quantization-aware training": {"quantize_nncf"},
    "evaluation": {"evaluate_snapshot", "evaluate_ir"},
    "archive": {"deploy"},
    "demo": {"demo"},
    "comparison": {"compare"},
    "benchmark": {"benchmark"},
}


def keys_of(schema: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys that a schema's configuration may have, those of runs aside."""
    for name, part in schema["properties"].items():
        part = _definition(part)
        if part["type"] != "object" or part.get("additionalProperties") is not False:
            yield f"{prefix}{name}"
        if "properties" in part:
            yield from keys_of(part, f"{prefix}{name}.")


def _schema() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "rules/schema.yaml").read_text(encoding="utf-8"))


def _definition(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """Resolve a reference within the schema."""
    if "$ref" not in part:
        return part
    definition: Any = _schema()
    for name in part["$ref"].removeprefix("#/").split("/"):
        definition = definition[name]
    return definition


def table() -> str:
    """Return the table of keys and of what is built again, as Markdown."""

    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |\n"

    rows = [
        line([f"`{key}`", *("●" if rules & column else "" for column in COLUMNS.values())])
        for key, (_, rules) in KEYS.items()
    ]
    return "".join([line(["key", *COLUMNS]), line(["---", *(":-:" for _ in COLUMNS)]), *rows])


if __name__ == "__main__":
    before, rest = MANUAL.read_text(encoding="utf-8").split(START)
    MANUAL.write_text(f"{before}{START}{table()}{END}{rest.split(END)[1]}", encoding="utf-8")
