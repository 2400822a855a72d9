"""The order of things at the end of a training: the store, the outputs, the checkpoints."""

import pytest
import tiny_training

from detmake.store import Entry, Store
from detmake.training import finished


@pytest.fixture
def training(tmp_path):
    """A training that may be finished: its outputs, store, identity and checkpoints."""
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    (checkpoints / "fingerprint.json").write_text("course")
    outputs = [tmp_path / "results/weights.pth", tmp_path / "results/logs/scalars.csv"]
    return outputs, Store(True, 10, tmp_path / "store"), "identity", checkpoints, "course"


def train(folder):
    (folder / "weights.pth").write_text("weights")
    (folder / "scalars.csv").write_text("loss")


def test_outputs_and_checkpoints(training):
    outputs, _, _, checkpoints, _ = training
    with finished.outputs(*training) as (folder, stored):
        assert stored is None
        train(folder)
        assert not any(file.exists() for file in outputs)
    assert [file.read_text() for file in outputs] == ["weights", "loss"]
    assert not checkpoints.exists()


def test_a_failure_keeps_the_checkpoints(training):
    outputs, _, _, checkpoints, _ = training
    with pytest.raises(ValueError), finished.outputs(*training) as (folder, _):
        train(folder)
        raise ValueError
    assert not any(file.exists() for file in outputs)
    assert checkpoints.exists()


def test_a_training_that_fails_after_it_was_stored_is_restored(training):
    outputs, store, identity, checkpoints, _ = training
    with pytest.raises(ValueError), finished.outputs(*training) as (folder, _):
        train(folder)
        store.save(identity, Entry("results/weights.pth", "ATSS", 0.8, 1.0), folder)
        raise ValueError
    with finished.outputs(*training) as (_, stored):
        assert stored.template == "ATSS"
    assert [file.read_text() for file in outputs] == ["weights", "loss"]
    assert not checkpoints.exists()


def test_checkpoints_of_another_training_stay(training):
    """One that was interrupted may go on later."""
    _, store, identity, checkpoints, _ = training
    with finished.outputs(*training) as (folder, _):
        train(folder)
        store.save(identity, Entry("results/weights.pth", "ATSS", 0.8, 1.0), folder)
    checkpoints.mkdir()
    (checkpoints / "fingerprint.json").write_text("another course")
    with finished.outputs(*training) as (_, stored):
        assert stored
    assert checkpoints.exists()


def test_checkpoints_from_which_a_training_may_go_on_stay(training):
    """Also if it is restored."""
    _, store, identity, checkpoints, _ = training
    with finished.outputs(*training, goes_on=True) as (folder, _):
        train(folder)
        store.save(identity, Entry("results/weights.pth", "ATSS", 0.8, 1.0), folder)
    assert checkpoints.exists()
    with finished.outputs(*training, goes_on=True) as (_, stored):
        assert stored
    assert checkpoints.exists()


def test_checkpoints_that_cannot_be_removed_are_a_warning(training, monkeypatch, caplog):
    def fail(folder):
        raise OSError("Directory not empty")

    monkeypatch.setattr(finished, "empty", fail)
    with finished.outputs(*training) as (folder, _):
        train(folder)
    assert f"{training[3]}: cannot be removed (Directory not empty)" in caplog.text


@pytest.mark.parametrize("f_measure", [0.0, 0.01])
def test_a_training_that_finds_nothing_says_what_to_change(caplog, f_measure):
    finished.warn_if_useless(f_measure, tiny_training.recipe().learning_parameters)
    warning = "F-measure is 0 after training for at most 2 epochs at a learning rate of 0.001"
    assert (warning in caplog.text) == (f_measure == 0)
