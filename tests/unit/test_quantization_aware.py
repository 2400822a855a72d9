"""The two passes of quantization-aware training, without training: what it does by F-measure."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from detmake.model.snapshot import Snapshot
from detmake.training import quantization_aware
from detmake.training.quantization_aware import QuantizationAwareRecipe
from detmake.training.recipe import LearningParameters

LEARNING = LearningParameters(
    batch_size=8,
    num_iters=100,
    learning_rate=0.004,
    learning_rate_warmup_iters=0,
    learning_rate_schedule="cosine",
    learning_rate_patience=3,
    enable_early_stopping=False,
    early_stop_patience=5,
    use_adaptive_interval=False,
    seed=0,
)
RECIPE = QuantizationAwareRecipe(
    pipeline=[],
    optimizer={"type": "AdamW"},
    learning_parameters=LEARNING,
    code=[],
    preset="mixed",
    stat_subset_size=1,
    num_iters=4,
    learning_rate=1e-4,
    maximal_accuracy_degradation=1.0,
    on_degradation="warn",
)
#: F-measures: the snapshot's, the initialized one's, those after each epoch.
ORIGINAL, INITIALIZED, VALIDATED = 0.8, 0.7, [0.7, 0.796, 0.797, 0.798]


class Course:
    """Stands in for training and export. An epoch's weights are its number.

    Attributes:
        exported: the F-measure of the exported model, by the epoch of its weights.
        killed_after: an epoch after whose checkpoint a kill comes.
        written, epochs: of the model that was exported last, the epoch and how many its
            description has.
    """

    def __init__(self, folder: Path, exported: dict[int, float]) -> None:
        self.checkpoints, self.exported = folder / "checkpoints", exported
        self.killed_after = self.written = self.epochs = None
        self.files = [folder / name for name in ("weights.pth", "train.json", "val.json")]
        for file in self.files[1:]:
            file.write_text('{"info": {}, "images": []}')
        snapshot = Snapshot({}, ["disc"], [64, 64], 0.5, {"id": "a", "name": "A"}, epoch(-1))
        snapshot.save(self.files[0])

    def measure(self, snapshot, coco):
        number = int(snapshot.state_dict["epoch"])
        measured = {-1: ORIGINAL, 0: INITIALIZED, **dict(enumerate(VALIDATED, start=1))}
        return replace(snapshot, f_measure=measured[number]), None

    def train(self, snapshot, initialized, recipe, stop, train, val, checkpoints, num_workers):
        file = checkpoints / "epochs"
        done = int(file.read_text()) if file.exists() else 0
        allowed = [stop._budget.allows(value, stop._share) for value in VALIDATED]
        while done < recipe.num_iters and not any(allowed[:done]):
            done += 1
            file.write_text(str(done))
            if done == self.killed_after:
                raise KeyboardInterrupt
        best = max(range(done), key=lambda index: VALIDATED[index])
        return epoch(best + 1), VALIDATED[:done]

    def export(self, snapshot, original, coco, budget, description, folder):
        self.written, self.epochs = int(snapshot.state_dict["epoch"]), description["epochs"]
        return self.exported[self.written]

    def interrupt(self, folder: Path) -> None:
        """Begin, and be killed in the second pass."""
        self.killed_after = 3
        with pytest.raises(KeyboardInterrupt):
            self.quantize(folder)

    def quantize(self, folder: Path, **changes) -> tuple[int, bool]:
        """Return the epoch of the result, and whether it is repeatable."""
        weights, train, val = self.files
        recipe = replace(RECIPE, **changes)
        made, is_repeatable = quantization_aware.quantize(
            weights, recipe, train, val, self.checkpoints, folder
        )
        assert int(made.state_dict["epoch"]) == self.written
        return self.written, is_repeatable


def epoch(number):
    return {"epoch": torch.tensor(number)}


@pytest.fixture
def course(tmp_path, monkeypatch):
    def make(exported):
        made = Course(tmp_path, exported)
        monkeypatch.setattr(quantization_aware, "with_best_threshold", made.measure)
        monkeypatch.setattr(quantization_aware, "_fine_tune", made.train)
        monkeypatch.setattr(quantization_aware, "_export", made.export)
        monkeypatch.setattr(
            quantization_aware,
            "_initialized",
            lambda snapshot, *_: replace(snapshot, state_dict=epoch(0), f_measure=INITIALIZED),
        )
        return made

    return make


def test_it_stops_at_the_first_epoch_whose_exported_model_is_within_the_budget(course, tmp_path):
    assert course({2: 0.79}).quantize(tmp_path) == (2, True)


def test_if_the_exported_model_is_beyond_the_budget_it_trains_for_all_epochs(course, tmp_path):
    assert course({2: 0.78, 4: 0.785}).quantize(tmp_path) == (4, True)


def test_the_better_one_of_two_exported_models_is_kept(course, tmp_path):
    trained = course({2: 0.785, 4: 0.78})
    assert trained.quantize(tmp_path) == (2, True)
    assert trained.epochs == 2  # as the model's description says
    trained = course({2: 0.785, 4: 0.78})
    shutil.rmtree(trained.checkpoints)
    trained.interrupt(tmp_path)
    assert trained.quantize(tmp_path) == (2, True)


def test_an_interrupted_second_pass_gives_the_same(course, tmp_path):
    """The third epoch would be within the budget, but the first pass had ended before it."""
    interrupted = course({2: 0.78, 3: 0.795, 4: 0.785})
    interrupted.interrupt(tmp_path)
    assert interrupted.written == 2
    assert interrupted.quantize(tmp_path) == (4, True)


def test_an_interrupted_second_pass_is_a_first_one_for_another_budget(course, tmp_path):
    """With this budget, a training that begins anew would have ended after the second epoch."""
    interrupted = course({2: 0.78, 3: 0.785, 4: 0.786})
    interrupted.interrupt(tmp_path)
    assert interrupted.quantize(tmp_path, maximal_accuracy_degradation=2.0) == (3, False)
