"""Tiny trainings: how they begin, diverge, and go on after a kill."""

import logging
import os
import random
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import tiny_training
import torch
from mmengine.fileio import LocalBackend

from detmake.errors import InputError
from detmake.training import augmented_dataset, resume, runner, schedule
from detmake.training.loop import TrainLoop
from detmake.training.random_numbers import drawn_for
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


# Batch normalization


def test_statistics_of_batch_normalization_are_those_of_the_kept_weights(files, tmp_path):
    recipe = tiny_training.recipe(num_iters=1, learning_rate=0.01)
    kept = train(recipe, *files, tmp_path).snapshot
    found, expected = tiny_training.normalization(kept, recipe, files[0])
    assert len(found) > 50
    torch.testing.assert_close(found, expected, rtol=0.01, atol=1e-4)


def test_frozen_batch_normalization_keeps_its_statistics(files, tmp_path):
    frozen = SSD | {"backbone": SSD["backbone"] | {"norm_eval": True}}
    recipe = replace(tiny_training.recipe(num_iters=1), model=frozen)
    weights = train(recipe, *files, tmp_path).snapshot.state_dict
    means = {name: mean for name, mean in weights.items() if name.endswith("running_mean")}
    for name, mean in means.items():
        assert mean.any() != name.startswith("backbone")


# Fitted anchors


def test_the_scale_of_anchors_is_fitted_and_logged(files, tmp_path, monkeypatch, caplog):
    """The discs are 40, 44, 48 … 76 pixels wide in the input; 43.6 is their 10th percentile."""
    caplog.set_level(logging.INFO, "detmake")
    fit = Mock(side_effect=StopIteration)  # no need to train
    monkeypatch.setattr("detmake.training.train.fit", fit)
    with pytest.raises(StopIteration):
        train(tiny_training.recipe("atss_mobilenetv2", (256, 192)), *files, tmp_path)
    assert fit.call_args.args[0].bbox_head.prior_generator.octave_base_scale == 5.45
    assert "octave_base_scale of the anchors, fitted to the train subset: 5.45" in caplog.text


# Batches larger than the dataset


@pytest.mark.parametrize(("batch_size", "warned"), [(10, False), (11, True)])
def test_a_batch_of_more_images_than_there_are_is_named(
    files, tmp_path, monkeypatch, caplog, batch_size, warned
):
    monkeypatch.setattr("detmake.training.train.fit", Mock(side_effect=StopIteration))
    with pytest.raises(StopIteration):
        train(tiny_training.recipe(batch_size=batch_size), *files, tmp_path)
    message = f"10 images, fewer than learning_parameters.batch_size, {batch_size}"
    assert (message in caplog.text) == warned


# The first batch


@pytest.mark.parametrize(("balance", "augmentation"), [("none", "strong"), ("repeat", "light")])
def test_the_picture_of_the_first_batch_shows_what_training_takes(
    files, tmp_path, monkeypatch, balance, augmentation
):
    taken = []

    def take(self, _, batch):
        taken.append(batch)
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainLoop, "run_iter", take)
    recipe = tiny_training.recipe(seed=7, balance=balance, augmentation=augmentation)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, *files, tmp_path)
    arguments = files[0], recipe.pipeline, recipe.input_size, 4, 7, balance, augmentation
    shown = augmented_dataset.first_batch(*arguments)
    assert len(shown) == 4
    (batch,) = taken
    for (name, image, annotated), inputs, sample in zip(shown, *batch.values(), strict=True):
        assert sample.img_path.endswith(f"/{name}")
        assert np.array_equal(image.transpose(2, 0, 1), inputs)
        assert np.array_equal(annotated.boxes, sample.gt_instances.bboxes.tensor)
        assert np.array_equal(annotated.labels, sample.gt_instances.labels)


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
    recipe = replace(recipe, optimizer={"type": "SGD", "weight_decay": 0})
    with pytest.raises(InputError, match="weights that are not finite after epoch 1"):
        train(recipe, *files, tmp_path)
    assert not list(tmp_path.glob("*.pth"))


# Kills


def killed(function, after: int, half_written: bool = False):
    """A function that works for some calls, and kills its process in the next one."""
    calls = 0

    def replacement(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls <= after:
            return function(*arguments, **options)
        if half_written:
            backend, content, *rest = arguments
            function(backend, content[: len(content) // 2], *rest)
        return os.kill(os.getpid(), signal.SIGKILL)

    return replacement


def run(*arguments, kill=None, **options) -> int:
    """Train in a forked process that is killed in a call of (class, method); return its status."""
    pid = os.fork()
    if not pid:
        try:
            torch.set_num_threads(1)
            if kill:
                owner, name, after = kill
                function = getattr(owner, name)
                setattr(owner, name, killed(function, after, half_written=name == "put"))
            train(*arguments, **options)
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# Columns of the scalars that differ from run to run.
TIMES = ["time", "data_time"]

# Nothing improves: the learning rate falls after two epochs, and the training stops after four.
LONG = tiny_training.recipe(
    num_iters=6,
    learning_rate=1e-3,
    learning_rate_warmup_iters=3,
    learning_rate_schedule="plateau",
    learning_rate_patience=1,
    enable_early_stopping=True,
    early_stop_patience=3,
)


def tensors(value, name=""):
    """All tensors of a checkpoint, by their place in it."""
    if isinstance(value, torch.Tensor):
        return {name: value}
    if isinstance(value, dict):
        value = value.items()
    elif isinstance(value, (list, tuple)):
        value = enumerate(value)
    else:
        return {}
    return {
        key: found for part, item in value for key, found in tensors(item, f"{name}.{part}").items()
    }


def end(checkpoints):
    """The epoch at which a training ended, and the tensors that it ended with."""
    checkpoint = resume.load(resume.newest(checkpoints))
    return checkpoint["meta"]["epoch"], tensors(checkpoint)


@pytest.fixture(scope="module", autouse=True)
def validations_count():
    """A plateau begins with a validation that finds something, which takes longer to learn."""
    measured = runner._ValidationMetric.compute_metrics
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            runner._ValidationMetric,
            "compute_metrics",
            lambda *arguments: {**measured(*arguments), schedule.MONITOR: 0.1},
        )
        yield


@pytest.fixture(scope="module")
def uninterrupted(files, tmp_path_factory):
    """The folder of a training that nothing interrupted."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "checkpoints"
    assert run(LONG, *files, folder) == 0
    return folder


@pytest.mark.parametrize("num_workers, kills", [(0, 4), pytest.param(2, 2, marks=pytest.mark.slow)])
def test_a_training_that_is_killed_at_any_moment_ends_as_if_it_never_was(
    files, uninterrupted, tmp_path, num_workers, kills
):
    moments = random.Random(num_workers)
    possible = [
        (TrainLoop, "run_iter", moments.randrange(1, 3)),
        (LocalBackend, "put", moments.randrange(2)),
        (runner._ValidationMetric, "process", moments.randrange(2)),
        (resume.KeepBest, "after_val_epoch", 0),
    ]
    for kill in moments.sample(possible, kills):
        assert run(LONG, *files, tmp_path, num_workers, kill=kill) == -signal.SIGKILL
    assert run(LONG, *files, tmp_path, num_workers) == 0

    epoch, expected = end(uninterrupted)
    assert epoch < LONG.learning_parameters.num_iters
    found_epoch, found = end(tmp_path)
    assert found_epoch == epoch
    assert len(expected) > 500
    assert same(expected, found)
    pd.testing.assert_frame_equal(
        resume.read_scalars(tmp_path).drop(columns=TIMES),
        resume.read_scalars(uninterrupted).drop(columns=TIMES),
    )


def test_a_killed_training_that_had_reached_its_end_learns_no_more(files, uninterrupted, tmp_path):
    folder = tmp_path / "checkpoints"
    shutil.copytree(uninterrupted, folder)
    forbidden = (TrainLoop, "run_epoch", 0)
    assert run(LONG, *files, folder, kill=forbidden) == 0


def test_a_training_that_stops_goes_on_as_if_it_had_not(files, uninterrupted, tmp_path):
    """As a trial of a search that goes on from rung to rung does."""
    parameters = replace(LONG.learning_parameters, stop_after=2)
    assert run(replace(LONG, learning_parameters=parameters), *files, tmp_path) == 0
    assert end(tmp_path)[0] == 2
    assert run(LONG, *files, tmp_path, kill=(TrainLoop, "run_epoch", 2)) == 0  # at most two epochs
    assert end(tmp_path)[0] == end(uninterrupted)[0]
    assert same(end(uninterrupted)[1], end(tmp_path)[1])
    pd.testing.assert_frame_equal(
        resume.read_scalars(tmp_path).drop(columns=TIMES),
        resume.read_scalars(uninterrupted).drop(columns=TIMES),
    )


def test_a_training_does_not_stop_at_a_checkpoint_of_a_later_epoch(tmp_path):
    for name, last_epoch, kept in (("earlier", 4, True), ("later", 3, False)):
        checkpoints = tmp_path / name
        resume.discard_foreign_checkpoints(checkpoints, LONG, [])
        for epoch in (3, 4):
            (checkpoints / f"epoch_{epoch}.pth").touch()
        parameters = replace(LONG.learning_parameters, stop_after=last_epoch)
        stopped = replace(LONG, learning_parameters=parameters)
        resume.discard_foreign_checkpoints(checkpoints, stopped, [], last_epoch)
        assert (checkpoints / "epoch_4.pth").exists() == kept
        assert (checkpoints / "fingerprint.json").exists()


# Damage


def test_a_damaged_checkpoint_is_as_if_it_had_not_been_saved(files, uninterrupted, tmp_path):
    """Also a line of scalars cut short, in a folder that was moved."""
    folder = tmp_path / "moved"
    shutil.copytree(uninterrupted, folder)
    last, before = resume._by_age(folder)
    os.truncate(last, last.stat().st_size // 2)
    with (folder / "vis_data/scalars.json").open("a") as scalars:
        scalars.write('{"lr": 0.001, "lo')
    originals = {file: file.stat().st_mtime_ns for file in uninterrupted.rglob("*")}
    assert resume.newest(folder) == before
    assert run(LONG, *files, folder) == 0
    assert same(end(uninterrupted)[1], end(folder)[1])
    assert len(resume.read_scalars(folder)) == len(resume.read_scalars(uninterrupted))
    assert originals == {file: file.stat().st_mtime_ns for file in uninterrupted.rglob("*")}


def test_checkpoints_of_a_training_that_starts_again_replace_damaged_ones(tmp_path):
    def save(folder: str, name: str, meta: dict) -> None:
        torch.save(meta, Path(folder, name))

    for epoch in (9, 10):
        (tmp_path / f"epoch_{epoch}.pth").write_bytes(b"PK")
    log = logging.getLogger("detmake")
    for epoch in (1, 2, 3):
        state = {"epoch": epoch, "iter": 0, "work_dir": str(tmp_path)}
        resume.save(SimpleNamespace(**state, save_checkpoint=save, logger=log))
    assert [file.stem for file in resume._by_age(tmp_path)] == ["epoch_3", "epoch_2"]


def test_a_checkpoint_with_a_flipped_byte_is_damaged(uninterrupted, tmp_path):
    last, before = resume._by_age(uninterrupted)
    shutil.copy(before, tmp_path)
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / last.name).write_bytes(content)
    assert resume.newest(tmp_path).name == before.name


def test_damage_in_the_list_of_a_checkpoint_and_other_files_raise_nothing(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "epoch_2.pth")
    (tmp_path / "epoch_2 copy.pth").touch()
    content = (tmp_path / "epoch_2.pth").read_bytes()
    for position in range(len(content) - 400, len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        (tmp_path / "epoch_3.pth").write_bytes(damaged)
        assert resume.newest(tmp_path).name in ("epoch_2.pth", "epoch_3.pth")


class RunsCode:
    """Creates the file `ran` when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("ran"),)


def test_a_checkpoint_of_a_stranger_runs_no_code(files, uninterrupted, tmp_path, monkeypatch):
    """Neither a pickle nor MMEngine's `config`, which is Python, in the place of ours."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "checkpoints"
    shutil.copytree(uninterrupted, folder)
    last = resume.newest(folder)
    own = resume.load(last)
    own["meta"]["config"] = "import pathlib\npathlib.Path('ran').touch()\na = 1\n"
    torch.save(own, last)
    assert run(LONG, *files, folder) == 0
    for stranger in ({**own, "optimizer": RunsCode()}, [1], {"state_dict": {}}):
        torch.save(stranger, last)
        with pytest.raises(InputError, match=f"{last.name}: found a file .* Remove {folder}"):
            train(LONG, *files, folder)
    assert not Path("ran").exists()


# Random numbers


def draw() -> tuple[float, ...]:
    """A random number of each kind; a normal one makes NumPy keep a second one."""
    return random.random(), np.random.rand(), np.random.normal(), float(torch.rand(1))


def test_random_numbers_depend_on_what_they_are_for_and_leave_the_others_alone():
    def seeded():
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)

    seeded()
    expected = [draw() for _ in range(2)]
    seeded()
    found = [draw()]
    inside = {}
    for key in (("image", 0, 1), ("image", 1, 0), ("step", 0, 1), ("image", 0, 1)):
        with drawn_for(*key):
            drawn = draw()
        assert inside.setdefault(key, drawn) == drawn
    found.append(draw())
    assert found == expected
    assert len(set(inside.values())) == 3
