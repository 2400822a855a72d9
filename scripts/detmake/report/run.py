"""What a run has: its models with their figures and predictions, and what is missing."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from detmake.data import subsets
from detmake.evaluation import bootstrap, performance, predictions
from detmake.evaluation.metrics import Evaluation
from detmake.report import tables
from detmake.report.comparison import size_mb
from detmake.runtime.figures import misfit

log = logging.getLogger("detmake")

#: The models of a run: name, folder of its figures, and file or folder of the model.
MODELS = (
    ("snapshot", "", "weights.pth"),
    ("IR", "openvino", "openvino"),
    ("int8 (POT)", "pot", "pot"),
    ("int8 (NNCF)", "nncf", "nncf"),
)


@dataclass(frozen=True)
class Model:
    """A measured model.

    Attributes:
        name: one of `MODELS`.
        path: its file or folder.
        performance: content of its `performance.json`.
        evaluation: its predictions, matched.
        samples: its figures on images drawn with replacement (`bootstrap.resample`).
        speed: its row of `speed.csv`: `latency_ms` and `images_per_second`; may be empty.
    """

    name: str
    path: Path
    performance: Mapping[str, Any]
    evaluation: Evaluation
    samples: pd.DataFrame
    speed: Mapping[str, float]

    @property
    def threshold(self) -> float:
        """The confidence threshold of its figures."""
        return self.performance["confidence_threshold"]

    @property
    def figures(self) -> dict[str, float | None]:
        """Its accuracy and costs (`detmake.report.tables`); None: not measured."""
        accuracy = {key: self.performance[key] for key in tables.ACCURACY}
        costs = {"size_mb": size_mb(self.path), **self.speed}
        return accuracy | {key: costs.get(key) for key in tables.COSTS}

    @property
    def quantization(self) -> Mapping[str, Any]:
        """How it was quantized; empty if it was not."""
        return self.performance.get("quantization", {})


@dataclass(frozen=True)
class Run:
    """A run, as far as it is built.

    Attributes:
        folder: the folder of its results.
        models: its measured models on one subset, in the order of `MODELS`.
        coco: that subset; empty without models.
        missing: what is not there or does not fit, in words; not a model by NNCF, which not every
            run has.
    """

    folder: Path
    models: list[Model] = field(default_factory=list)
    coco: Mapping[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    @property
    def batch(self) -> Path:
        """Picture of the first batch of its training."""
        return self.folder / "dataset/batch.jpg"

    def table(self, file: str) -> pd.DataFrame | None:
        """Return a CSV file of the run; None if it is not there."""
        return pd.read_csv(self.folder / file) if (self.folder / file).exists() else None

    def json(self, file: str) -> Any:
        """Return the content of a JSON file of the run; None if it is not there."""
        path = self.folder / file
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def read(folder: Path) -> Run:
    """Read the models of a run whose figures, predictions and annotations fit together."""
    run = Run(folder)
    speed = run.table("speed.csv")
    rows = {} if speed is None else speed.set_index("model").to_dict("index")
    subset = None
    for name, place, path in MODELS:
        file = folder / place / "performance.json"
        if not file.exists():
            if name != "int8 (NNCF)":
                run.missing.append(f"figures of the {name}: snakemake {file}")
            continue
        content = json.loads(file.read_text(encoding="utf-8"))
        problem = misfit(file)
        if not problem and "predictions" not in content["sha256"]:
            problem = "was measured by an earlier version, without predictions.json"
        if not problem and subset not in (None, content["sha256"]["subset"]):
            problem = "was measured on another subset than the other models"
        if problem:
            run.missing.append(f"figures of the {name}: {file} {problem}; snakemake {file}")
            continue
        if subset is None:
            subset = content["sha256"]["subset"]
            run.coco.update(subsets.read(folder / "dataset" / next(iter(subset))))
        evaluation = Evaluation(run.coco, predictions.read(file.with_name("predictions.json")))
        samples = bootstrap.resample(evaluation, content["confidence_threshold"])
        measured = rows.get(str(folder / path), {})
        model = Model(name, folder / path, content, evaluation, samples, measured)
        run.models.append(model)
        log.info(performance.in_words(name, content, measured.get("latency_ms")))
    wanted = {"latency": "speed.csv", "statistics of the data": "dataset/statistics.json"}
    if (folder / "logs/scalars.csv").exists():  # given weights were not trained here
        wanted["first batch of the training"] = "dataset/batch.jpg"
    for what, file in wanted.items():
        if not (folder / file).exists():
            run.missing.append(f"{what}: snakemake {folder / file}")
    return run
