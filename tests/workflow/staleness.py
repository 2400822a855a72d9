"""What makes which rules run again: the data of a test, and of the table in config/README.md.

`python tests/workflow/staleness.py` writes the table.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
MANUAL = ROOT / "config/README.md"
START, END = "<!-- tests/workflow/staleness.py writes this table -->\n", "<!-- end -->\n"

#: The rules that read what each rule writes. Some rules have special cases, named after a colon.
READERS = {
    "draw_cells": ["prepare_dataset:trained run", "statistics"],
    "download_bccd": ["convert_bccd"],
    "convert_bccd": ["prepare_dataset:trained run", "statistics"],
    "download_pretrained": ["train:declared run"],
    "prepare_dataset": [
        *("train", "adopt_weights", "quantize_nncf", "statistics", "cut_tiles", "draw_batch"),
        *("deploy", "compare", "report_run"),
    ],
    "cut_tiles": ["train:declared run", "quantize_pot"],
    "prepare_dataset:val": [
        *("train", "adopt_weights", "quantize_nncf", "statistics", "prepare_dataset:test"),
        *("deploy", "compare", "report_run"),
    ],
    # Training checks the test subset but does not use it.
    "prepare_dataset:test": [
        *("evaluate_snapshot", "evaluate_ir", "demo", "benchmark", "statistics"),
        *("measure_speed", "report_run", "deploy"),
    ],
    "prepare_dataset:trained run": ["train"],
    "train": ["evaluate_snapshot", "export", "quantize_nncf", "benchmark", "measure_speed"],
    "train:declared run": ["evaluate_snapshot", "export"],
    "adopt_weights": ["evaluate_snapshot", "export"],
    "adopt_weights:base run": [
        *("evaluate_snapshot", "export", "quantize_nncf", "benchmark", "measure_speed"),
    ],
    "export": ["quantize_pot", "evaluate_ir", "benchmark", "measure_speed"],
    "quantize_pot": ["evaluate_ir", "demo", "benchmark", "measure_speed"],
    "quantize_nncf": ["evaluate_ir:nncf", "benchmark", "measure_speed"],
    "evaluate_snapshot": ["compare", "report_run"],
    "evaluate_ir": ["deploy", "compare", "report_run"],
    "evaluate_ir:nncf": ["deploy", "compare", "report_run"],
    "measure_speed": ["report_run"],
    "draw_batch": ["report_run"],
    "report_run": [],
    "deploy": [],
    "statistics": ["report_run"],
    "demo": [],
    "compare": [],
    "benchmark": [],
}


def follow(first: Iterable[str], among: Container[str] = READERS) -> frozenset[str]:
    """Return rules and all rules that depend on their results, without special cases."""
    found: set[str] = set()
    waiting = [rule for rule in first if rule in among]
    while waiting:
        rule = waiting.pop()
        if rule not in found:
            found.add(rule)
            waiting += [reader for reader in READERS[rule] if reader in among]
    return frozenset(rule.partition(":")[0] for rule in found)


NOTHING: set[str] = set()
TRAINING = {"train", "adopt_weights"}
LEARNING = {"train", "quantize_nncf"}
#: The `learning_parameters` that the report's picture of the first batch depends on.
DRAWN = {"batch_size", "seed", "balance", "augmentation"}
EVALUATION = {"evaluate_snapshot", "evaluate_ir", "evaluate_ir:nncf"}
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


def _one_set(**changes: Any) -> dict[str, Any]:
    return {"data": {"source": "data/train", "split": "auto"} | changes}


#: What differs from the tiny configuration before these changes.
BEFORE = {"pretrained": "pretrained.pth"}
#: For each key of the configuration: a change of it, and the first rules that run again.
KEYS: dict[str, tuple[Mapping[str, Any], set[str]]] = {
    "data": ({"data": "other"}, {"prepare_dataset"}),
    "data.source": ({"data": {"source": "other"}}, {"prepare_dataset"}),
    "data.train.ann-files": (_other("train")[0], {"prepare_dataset"}),
    "data.train.data-roots": (_other("train")[1], {"prepare_dataset"}),
    "data.val.ann-files": (_other("val")[0], {"prepare_dataset:val"}),
    "data.val.data-roots": (_other("val")[1], {"prepare_dataset:val"}),
    "data.test.ann-files": (_other("test")[0], {"prepare_dataset:test"}),
    "data.test.data-roots": (_other("test")[1], {"prepare_dataset:test"}),
    "data.split": (_one_set(), {"prepare_dataset"}),
    "data.split.val": (_one_set(split={"val": 0.3}), {"prepare_dataset"}),
    "data.split.test": (_one_set(split={"val": 0.3, "test": 0.2}), {"prepare_dataset"}),
    "data.group": (_one_set(group=r"image (\d)"), {"prepare_dataset"}),
    "data.groups": (_one_set(groups="groups.csv"), {"prepare_dataset"}),
    "data.seed": (_one_set(seed=1), {"prepare_dataset"}),
    "data.on_leak": ({"data": DATA | {"on_leak": "warn"}}, NOTHING),
    "data.classes": ({"data": DATA | {"classes": ["disc"]}}, {"prepare_dataset"}),
    "schema_version": ({"schema_version": 1}, NOTHING),
    "template": ({"template": "ssd_mobilenetv2"}, TRAINING),
    "input_size": (
        {"input_size": [160, 128]},
        TRAINING | {"statistics", "cut_tiles", "draw_batch"},
    ),
    **{
        key: ({"tiling": tiling}, TRAINING | {"cut_tiles", "draw_batch"})
        for key, tiling in {
            "tiling": {},
            "tiling.size": {"size": 128},
            "tiling.overlap": {"overlap": 0.5},
            "tiling.whole_image": {"whole_image": False},
        }.items()
    },
    "backbone": ({"backbone": {"widen_factor": 0.5}}, TRAINING),
    "backbone.type": ({"backbone": {"type": "ResNet", "depth": 18}}, TRAINING),
    "pretrained": ({"pretrained": None}, {"train"}),
    "pretrained.source": ({"pretrained": {"source": "finished.pth"}}, {"train"}),
    "pretrained.channel_order": (
        {"pretrained": {"source": "pretrained.pth", "channel_order": "rgb"}},
        {"train"},
    ),
    "pretrained.license": (
        {"pretrained": {"source": "pretrained.pth", "license": "MIT"}},
        {"deploy"},
    ),
    "weights": ({"weights": "finished.pth"}, {"adopt_weights:base run"}),
    "device": ({"device": "cpu"}, NOTHING),
    "results": ({"results": "elsewhere"}, {"prepare_dataset"}),
    "runs": ({"runs": {"slow": {"input_size": [160, 128]}}}, {"prepare_dataset:trained run"}),
    "bccd_url": ({"bccd_url": "http://localhost/bccd.zip"}, {"download_bccd"}),
    "plan": ({"plan": ["benchmark"]}, NOTHING),
    "minutes": ({"minutes": 5}, NOTHING),
    "verify": ({"verify": "elsewhere"}, NOTHING),
    "clean": ({"clean": ["caches"]}, NOTHING),
    "store.enabled": ({"store": {"enabled": False}}, NOTHING),
    "store.limit_gb": ({"store": {"limit_gb": 1}}, NOTHING),
    "search": ({"search": {"space": {"template": ["yolox_tiny", "ssd_mobilenetv2"]}}}, NOTHING),
    **{
        f"learning_parameters.{key}": (
            {"learning_parameters": {key: value}},
            NOTHING
            if key == "num_workers"
            else LEARNING | ({"draw_batch"} if key in DRAWN else set()),
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
            "balance": "repeat",
            "augmentation": "strong",
            "stop_after": 9,
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
    "evaluation.subset": (
        {"evaluation": {"subset": "val"}},
        EVALUATION | {"demo", "benchmark", "measure_speed"},
    ),
    "inference.device": (
        {"inference": {"device": "AUTO"}},
        {"quantize_pot", "evaluate_ir", "demo", "benchmark", "compare", "measure_speed"},
    ),
    **{
        f"pot_parameters.{key}": ({"pot_parameters": {key: value}}, {"quantize_pot"})
        for key, value in {
            "preset": "mixed",
            "target": "any",
            "stat_subset_size": 5,
            "max_models": 9,
            "maximal_accuracy_degradation": 99,
            "on_degradation": "warn",
        }.items()
    },
    **{
        f"nncf_optimization.{key}": ({"nncf_optimization": {key: value}}, {"quantize_nncf"})
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
    "demo.source": ({"demo": {"source": "data/train/image 0.png"}}, {"demo"}),
    "demo.model": ({"demo": {"model": "openvino"}}, {"demo"}),
    "demo.seconds": ({"demo": {"seconds": 5}}, {"demo"}),
}

#: For each conda environment in `envs/`: the rules that run in it.
ENVIRONMENTS = {
    "data": {
        *("draw_cells", "download_bccd", "convert_bccd", "download_pretrained", "prepare_dataset"),
        *("statistics", "cut_tiles"),
    },
    "training": {"train", "adopt_weights", "evaluate_snapshot", "export", "draw_batch"},
    "inference": {"quantize_pot", "evaluate_ir", "evaluate_ir:nncf", "deploy", "demo"},
    "nncf": {"quantize_nncf"},
    "suggestion": set(),  # what is suggested is no result
    "reporting": {"compare", "benchmark", "measure_speed", "report_run"},
}

#: Columns of the table, and the rules that each is about.
COLUMNS = {
    "data": {"prepare_dataset"},
    "statistics": {"statistics"},
    "tiles": {"cut_tiles"},
    "training": {"train", "adopt_weights"},
    "export": {"export"},
    "post-training quantization": {"quantize_pot"},
    "quantization-aware training": {"quantize_nncf"},
    "evaluation": {"evaluate_snapshot", "evaluate_ir"},
    "archive": {"deploy"},
    "demo": {"demo"},
    "comparison": {"compare"},
    "benchmark": {"benchmark"},
    "report": {"measure_speed", "draw_batch", "report_run"},
}


def keys_of(schema: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys that a schema's configuration may have, those of runs aside.

    A search counts as one key: no rule of the table reads a part of it.
    """
    for name, part in schema["properties"].items():
        part = _definition(part)
        if part["type"] != "object" or part.get("additionalProperties") is not False:
            yield f"{prefix}{name}"
        if "properties" in part and name != "search":
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
        line([f"`{key}`", *("●" if follow(rules) & column else "" for column in COLUMNS.values())])
        for key, (_, rules) in KEYS.items()
    ]
    return "".join([line(["key", *COLUMNS]), line(["---", *(":-:" for _ in COLUMNS)]), *rows])


if __name__ == "__main__":
    before, rest = MANUAL.read_text(encoding="utf-8").split(START)
    MANUAL.write_text(f"{before}{START}{table()}{END}{rest.split(END)[1]}", encoding="utf-8")
