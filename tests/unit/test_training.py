"""Tiny trainings: how they begin, diverge, and go on after a kill."""

from dataclasses import replace

import pytest
import tiny_training
import torch

from detmake.errors import InputError
from detmake.training.loop import TrainLoop
from detmake.training.train import train

SSD = tiny_training.recipe().model


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Prepared annotations of the train and the validation subset."""
    folder = tmp_path_factory.mktemp("data")
    return [tiny_training.write_subset(folder, *part) for part in (("train", 10), ("val", 4))]


def same(first, second) -> bool:
    """Whether two state dicts are equal bit for bit."""
    return all(torch.equal(first[name], second[name]) for name in first | second)


# The first batch


def test_the_first_batch_leaves_no_trace(files, tmp_path, monkeypatch):
    recipe = tiny_training.recipe(num_iters=1)
    tried = train(recipe, *files, tmp_path / "tried").snapshot.state_dict
    monkeypatch.setattr(TrainLoop, "_try_first_batch", lambda self: None)
    assert same(tried, train(recipe, *files, tmp_path / "not tried").snapshot.state_dict)


@pytest.mark.parametrize(
    "key, change",
    [
        ("pipeline", [{"type": "RandomFlop"}]),
        ("pipeline", [{"type": "RandomCrop", "crop_size": (500, -1)}]),
        ("model", SSD | {"train_cfg": SSD["train_cfg"] | {"neg_pos_ratio": "many"}}),
    ],
)
def test_a_mistake_in_a_template_shows_in_the_first_batch(files, tmp_path, key, change):
    recipe = replace(tiny_training.recipe(), **{key: change})
    with pytest.raises(InputError, match=f"Correct `{key}` in the template file"):
        train(recipe, *files, tmp_path)
    assert not list(tmp_path.glob("epoch_*"))


# Divergence


def test_a_diverged_training_ends_with_the_learning_rate_and_the_remedy(files, tmp_path):
    recipe = tiny_training.recipe(learning_rate=1e12)
    place = r"in epoch 1, iteration [23], at a learning rate of \d.*e\+1[12]"
    with pytest.raises(InputError, match=rf"{place}\. Lower learning_parameters\.learning_rate"):
        train(recipe, *files, tmp_path)


def test_weights_that_the_last_step_of_an_epoch_spoils_are_not_saved(files, tmp_path):
    recipe = tiny_training.recipe(learning_rate=1e38, batch_size=10)  # one step an epoch
    recipe = replace(recipe, optimizer={"type": "SGD"})
    with pytest.raises(InputError, match="weights that are not finite after epoch 1"):
        train(recipe, *files, tmp_path)
    assert not list(tmp_path.glob("*.pth"))
