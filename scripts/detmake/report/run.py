"""What a run has: its models with their figures and predictions, and what is missing."""

import json
import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from detmake.data import subsets
from detmake.evaluation import bootstrap, performance, predictions
from detmake.evaluation.metrics import Evaluation
from detmake.model_names import MODELS, OPTIONAL
from detmake.report import tables
from detmake.runtime.figures import misfit

log = logging.getLogger("detmake")


@dataclass(frozen=True)
class Model:
    """A measured model.

    Attributes:
        name: one of `detmake.model_names.MODELS`.
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
        costs = {"size_mb": _size_mb(self.path), **self.speed}
        return accuracy | {key: costs.get(key) for key in tables.COSTS}

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % interval of each figure of its accuracy."""
        return {key: bootstrap.interval(self.samples[key]) for key in tables.ACCURACY}

    @property
    def quantization(self) -> Mapping[str, Any]:
        """How it was quantized; empty if it was not."""
        return self.performance.get("quantization", {})


@dataclass(frozen=True)
class Run:
    """A run, as far as it is built.

    Attributes:
        folder: the folder of its results.
        models: its measured models on one subset, in the order of `detmake.model_names.MODELS`.
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


def read_model(
    name: str, path: Path, figures: Path, coco: Mapping[str, Any], speed: Mapping[str, float]
) -> Model:
    """Read a model's figures and predictions, and measure it on images drawn with replacement.

    Args:
        name, path, speed: as in `Model`.
        figures: its `performance.json`, beside its `predictions.json`.
        coco: the prepared subset that both speak of.
    """
    content = json.loads(figures.read_text(encoding="utf-8"))
    evaluation = Evaluation(coco, predictions.read(figures.with_name("predictions.json")))
    samples = bootstrap.resample(evaluation, content["confidence_threshold"])
    return Model(name, path, content, evaluation, samples, speed)


def read(folder: Path, options: Sequence[str] = ()) -> Run:
    """Read the models of a run whose figures, predictions and annotations fit together.

    Args:
        folder: the folder of its results.
        options: those of `snakemake`, for the commands that make what is missing.
    """
    run = Run(folder)

    def command(file: str | Path, *first: str) -> str:
        return shlex.join(["snakemake", *first, str(folder / file), *options])

    speed = run.table("speed.csv")
    rows: dict[str, dict[str, float]] = {}
    if speed is not None and "sha256" in speed:
        unique = speed.drop_duplicates("sha256").set_index("sha256")
        rows = unique[["latency_ms", "images_per_second"]].to_dict("index")
    subset = None
    for name, (place, path) in MODELS.items():
        file = folder / place / "performance.json"
        if not file.exists():
            if name != OPTIONAL:
                run.missing.append(f"figures of the {name}: {command(file.relative_to(folder))}")
            continue
        problem = misfit(file)
        content = {} if problem else json.loads(file.read_text(encoding="utf-8"))
        if not problem and "predictions" not in content["sha256"]:
            problem = "was measured by an earlier version, without predictions.json"
        if not problem and subset not in (None, content["sha256"]["subset"]):
            problem = "was measured on another subset than the other models"
        if problem:
            again = command(file.relative_to(folder), "-f")
            run.missing.append(f"figures of the {name}: {file} {problem}; {again}")
            continue
        if subset is None:
            subset = content["sha256"]["subset"]
            run.coco.update(subsets.read(folder / "dataset" / next(iter(subset))))
        digests = content["sha256"]["model"].values()
        measured = next((rows[digest] for digest in digests if digest in rows), {})
        if speed is not None and not measured:
            run.missing.append(
                f"latency of the {name}: {folder / 'speed.csv'} speaks of another model; "
                f"{command('speed.csv')}"
            )
        run.models.append(read_model(name, folder / path, file, run.coco, measured))
        log.info(performance.in_words(name, content, measured.get("latency_ms")))
    wanted = {"latency": "speed.csv", "statistics of the data": "dataset/statistics.json"}
    if (folder / "logs/scalars.csv").exists():  # given weights were not trained here
        wanted["first batch of the training"] = "dataset/batch.jpg"
    for what, file in wanted.items():
        if not (folder / file).exists():
            run.missing.append(f"{what}: {command(file)}")
    return run


def _size_mb(path: Path) -> float:
    """Return the size of a snapshot, or of the IR in a model folder, in 10⁶ bytes."""
    files = [path / "openvino.xml", path / "openvino.bin"] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files) / 1e6
