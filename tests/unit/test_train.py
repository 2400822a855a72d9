"""Parts of training that can be tested without training: schedule, validation, resuming."""

import math
import zipfile
from dataclasses import asdict, replace
from types import SimpleNamespace
from unittest.mock import Mock

import pandas as pd
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.evaluator import Evaluator
from mmengine.hooks import EarlyStoppingHook
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.structures import InstanceData
from mmengine.visualization import LocalVisBackend

from detmake.errors import InputError
from detmake.quantization.budget import Budget
from detmake.training import quantization_aware, resume, runner, schedule
from detmake.training.quantization_aware import QuantizationAwareRecipe
from detmake.training.recipe import BaseRecipe, LearningParameters, Recipe

# Schedule


class Shared(torch.nn.Module):
    """Two convolutions that share their weights, and a normalization."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(2, 2, 1)
        self.second = self.first
        self.norm = torch.nn.BatchNorm2d(2)


@pytest.mark.parametrize(
    ("optimizer", "decays"),
    [({"weight_decay": 0.05, "fused": True}, {1: [0.05], 3: [0.0]}), ({}, {4: [0.01]})],
)
def test_parameters_with_the_same_settings_are_one_group(optimizer, decays):
    recipe = BaseRecipe([], {"type": "AdamW", **optimizer}, PARAMETERS, code=[])
    wrapper = schedule.build_schedule(recipe, 8)["optim_wrapper"]
    built = build_optim_wrapper(Shared(), {**wrapper, "type": "OptimWrapper"})
    groups = built.optimizer.param_groups
    found = {len(group["params"]): [group["weight_decay"]] for group in groups}
    assert found == decays
    assert all(group["lr"] == 0.004 for group in groups)


@pytest.mark.parametrize("optimizer", [{"type": "Adamw"}, {"type": "RMSprop", "fused": True}])
def test_an_optimizer_that_cannot_be_built_is_named(optimizer):
    recipe = BaseRecipe([], optimizer, PARAMETERS, code=[])
    wrapper = schedule.build_schedule(recipe, 8)["optim_wrapper"]
    untrained = object.__new__(runner._Runner)
    untrained.model = Shared()
    with pytest.raises(InputError, match=f"^optimizer: found {optimizer['type']}, which cannot"):
        untrained.build_optim_wrapper(ConfigDict(wrapper))


def test_mixed_precision_with_strided_depthwise_convolutions(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    depthwise = torch.nn.Conv2d(4, 4, 3, stride=2, groups=4)
    pointwise = torch.nn.Conv2d(4, 2, 1)
    network = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3, groups=4), depthwise, pointwise)
    seen = {}
    for name, module in network.named_children():
        module.register_forward_hook(lambda *parts, name=name: seen.update({name: parts[2].dtype}))
    images = torch.rand(2, 4, 9, 9)
    with schedule.mixed_precision(network):
        loss = network(images).float().sum()
    loss.backward()
    assert seen == {"0": torch.bfloat16, "1": torch.float32, "2": torch.bfloat16}
    assert depthwise.weight.grad.dtype == torch.float32

    assert network(images).dtype == torch.float32  # and nothing is left of it
    assert "forward" not in vars(depthwise)


def test_no_mixed_precision_on_other_cpus(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    network = torch.nn.Conv2d(4, 4, 3, stride=2, groups=4)
    with schedule.mixed_precision(network):
        assert network(torch.rand(1, 4, 9, 9)).dtype == torch.float32


@pytest.mark.parametrize(
    ("iterations", "interval"),
    [(1, 5), (4, 5), (5, 4), (32, 2), (48, 2), (49, 1), (64, 1), (9999, 1)],
)
def test_validation_interval(iterations, interval):
    # In the OTX tutorial's log: every 2 epochs with 32 iterations an epoch.
    assert schedule.validation_interval(iterations) == interval


PARAMETERS = LearningParameters(
    batch_size=8,
    num_iters=10,
    learning_rate=0.004,
    learning_rate_warmup_iters=50,
    learning_rate_schedule="cosine",
    learning_rate_patience=3,
    use_adaptive_interval=True,
    enable_early_stopping=False,
    early_stop_patience=8,
    seed=0,
)


def build_schedule(num_images, **learning_parameters):
    parameters = replace(PARAMETERS, **learning_parameters)
    recipe = BaseRecipe([], {"type": "AdamW"}, parameters, code=[])
    return schedule.build_schedule(recipe, num_images)


def learning_rates(num_images, **learning_parameters):
    """Learning rate of each iteration by the MMEngine schedulers of a schedule."""
    optimizer = torch.optim.SGD(
        [torch.nn.Parameter(torch.zeros(1))], lr=learning_parameters.get("learning_rate", 0.004)
    )
    schedulers = [
        PARAM_SCHEDULERS.build({**scheduler, "optimizer": optimizer})
        for scheduler in build_schedule(num_images, **learning_parameters)["param_scheduler"]
    ]
    rates = []
    for _ in range(10 * math.ceil(num_images / 8)):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


def test_learning_rate_rises_during_warmup_and_then_falls():
    rates = learning_rates(num_images=250)  # 32 iterations an epoch, 320 in all
    assert rates[0] == pytest.approx(0.004 / 3)
    assert max(rates) == pytest.approx(0.004)
    assert 49 <= rates.index(max(rates)) <= 50
    assert rates[:50] == sorted(rates[:50])
    assert rates[50:] == sorted(rates[50:], reverse=True)
    # Halfway from there to the end: the mean of the highest and the lowest rate.
    assert rates[50 + 135] == pytest.approx(0.004 * (1 + 0.01) / 2, rel=0.01)
    assert rates[-1] == pytest.approx(0.004 * 0.01, rel=0.02)


def test_warmup_takes_at_most_half_of_a_short_training():
    rates = learning_rates(num_images=16)  # 20 iterations in all
    assert 9 <= rates.index(max(rates)) <= 10
    assert max(rates) == pytest.approx(0.004)


@pytest.mark.parametrize("warmup", [0, 1])
def test_learning_rate_without_warmup(warmup):
    """One iteration of warm-up has the learning rate that a warm-up ends with."""
    rates = learning_rates(num_images=80, learning_rate_warmup_iters=warmup)
    assert rates[0] == pytest.approx(0.004)
    assert rates == sorted(rates, reverse=True)


def test_the_shortest_training_is_validated():
    assert build_schedule(8, num_iters=3)["train_cfg"]["val_interval"] == 3
    assert build_schedule(8, use_adaptive_interval=False)["train_cfg"]["val_interval"] == 1


@pytest.mark.parametrize(
    ("stop_after", "last_epoch"), [(None, 12), (1, 5), (5, 5), (6, 10), (11, 12), (99, 12)]
)
def test_training_stops_with_a_validation_that_it_has_anyway(stop_after, last_epoch):
    schedule = build_schedule(8, num_iters=12, stop_after=stop_after)  # validated every 5 epochs
    assert schedule["train_cfg"]["last_epoch"] == last_epoch
    assert schedule["param_scheduler"] == build_schedule(8, num_iters=12)["param_scheduler"]


@pytest.mark.parametrize("enabled", [True, False])
def test_early_stopping_can_be_switched_on_and_off(enabled):
    hooks = build_schedule(8, enable_early_stopping=enabled)["custom_hooks"]
    assert any(isinstance(hook, EarlyStoppingHook) for hook in hooks) is enabled


@pytest.mark.parametrize(
    ("augmentation", "warmup", "found_in", "last"),
    [("light", 0, 1, 3), ("strong", 0, 1, 19), ("light", 7, 1, 9), ("light", 0, 5, 7)],
)
def test_early_stopping_waits(augmentation, warmup, found_in, last):
    """Two validations without improvement end a training of 20 epochs, of one iteration each.

    They count after warm-up, after the 16 epochs of `strong`, and once something is found.
    """
    parameters = {"num_iters": 20, "enable_early_stopping": True, "early_stop_patience": 2}
    parameters |= {"augmentation": augmentation, "learning_rate_warmup_iters": warmup}
    hooks = build_schedule(8, **parameters)["custom_hooks"]
    (hook,) = (hook for hook in hooks if isinstance(hook, EarlyStoppingHook))
    runner = Mock(epoch=0)
    runner.train_loop.stop_training = False
    while not runner.train_loop.stop_training:
        runner.epoch += 1
        hook.after_val_epoch(runner, {schedule.MONITOR: 0.5 if runner.epoch >= found_in else 0.0})
    assert runner.epoch == last


@pytest.mark.parametrize(("warmup", "found_in", "lowered"), [(0, 1, 4), (7, 1, 10), (0, 5, 8)])
def test_a_plateau_lowers_the_learning_rate_after_as_many_validations(warmup, found_in, lowered):
    """With a patience of 3: the first validation that counts, and three that are no better."""
    parameters = {"learning_rate_schedule": "plateau", "learning_rate_warmup_iters": warmup}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.004)
    *_, plateau = build_schedule(8, num_iters=20, **parameters)["param_scheduler"]
    scheduler = PARAM_SCHEDULERS.build({**plateau, "optimizer": optimizer})
    rates = {0: 0.004}
    while rates[max(rates)] == 0.004:
        scheduler.step()  # an epoch, whose validation follows
        epoch = max(rates) + 1
        scheduler.step({schedule.MONITOR: 0.5 if epoch >= found_in else 0.0})
        rates[epoch] = optimizer.param_groups[0]["lr"]
    assert max(rates) == lowered
    assert plateau["end"] == 21  # a Runner would set 20, which an only epoch could not begin with
    assert rates[lowered] == pytest.approx(0.0004)


# Validation


def truth(number, image_id, category_id, bbox):
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": bbox,
        "area": bbox[2] * bbox[3],
        "iscrowd": 0,
    }


def sample(image_id, *found):
    """What MMDetection passes to a metric for an image; each detection is (label, xyxy, score)."""
    labels, boxes, scores = zip(*found, strict=True) if found else ((), (), ())
    return DetDataSample(
        metainfo={"img_id": image_id, "ori_shape": (100, 100)},
        pred_instances=InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
            scores=torch.tensor(scores, dtype=torch.float32),
            labels=torch.tensor(labels, dtype=torch.long),
        ),
    )


def test_validation_metric_by_hand():
    coco = {
        "info": {},
        "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "white"}],
        "images": [{"id": image_id, "width": 100, "height": 100} for image_id in (8, 5, 6)],
        "annotations": [
            truth(1, 8, 1, [0, 0, 10, 20]),
            truth(2, 8, 2, [50, 50, 10, 20]),
            truth(3, 6, 1, [30, 30, 20, 10]),
        ],
    }
    evaluator = Evaluator(runner._ValidationMetric(coco, tiling=None))
    evaluator.process(
        [
            sample(
                8, (0, [0, 0, 10, 20], 0.9), (1, [50, 50, 60, 70], 0.4), (0, [70, 0, 80, 20], 0.2)
            ),
            sample(5),
        ]
    )
    evaluator.process([sample(6, (1, [30, 30, 50, 40], 0.6))])  # wrong class
    metrics = evaluator.evaluate(3)
    # From 0.225 on, two of three detections are correct, and there are three annotations.
    assert metrics["confidence_threshold"] == 0.225
    assert metrics["f-measure"] == pytest.approx(2 * 2 / (3 + 3))
    # Red: recall 1/2 at precision 1. White: precision 1/2 at every recall.
    assert metrics["mAP50"] == pytest.approx((51 / 101 + 1 / 2) / 2)

    evaluator.process([sample(8), sample(5), sample(6)])
    assert evaluator.evaluate(3)["f-measure"] == 0


def test_validation_sees_boxes_as_an_exported_model_has_them():
    categories = [{"id": 1, "name": "red"}]
    image = {"id": 8, "width": 100, "height": 100}
    annotations = [truth(1, 8, 1, [0, 0, 20, 20])]
    coco = {"info": {}, "categories": categories, "images": [image], "annotations": annotations}
    metric = runner._ValidationMetric(coco, tiling=None)
    overhanging = (0, [-25, 0, 20, 20], 0.9)
    evaluator = Evaluator(metric)
    evaluator.process([sample(8, overhanging, *[(0, [50, 50, 90, 90], 0.1)] * 200)])
    ((_, found),) = metric.results
    assert found.boxes[0].tolist() == [0, 0, 20, 20]
    assert len(found.scores) == 100
    assert evaluator.evaluate(1)["f-measure"] == 1


# Resuming an interrupted training

RECIPE = Recipe(
    model={"type": "ATSS"},
    pipeline=[{"type": "RandomFlip", "prob": 0.5}],
    optimizer={"type": "AdamW"},
    input_size=[416, 320],
    learning_parameters=PARAMETERS,
    channel_order=None,
    id="atss",
    name="ATSS",
    code=["detmake/training/train.py: 0123"],
)
CHANGES = {
    "model": {"type": "SSD"},
    "pipeline": [{"type": "RandomFlip", "prob": 0.25}],
    "optimizer": {"type": "SGD"},
    "input_size": [320, 416],
    "learning_parameters": replace(PARAMETERS, seed=1),
    "channel_order": "rgb",
    "id": "other",
    "code": ["detmake/training/train.py: 4567"],
}


def test_a_recipe_takes_what_it_needs_from_the_parameters_of_a_rule():
    params = {
        **{key: getattr(RECIPE, key) for key in ("model", "pipeline", "optimizer", "input_size")},
        "learning_parameters": {**asdict(PARAMETERS), "num_workers": 4},
        "channel_order": None,
        "id": "atss",
        "name": "ATSS",
        "code": RECIPE.code,
        "compared model.type": "model.type: ATSS",
        "compared pipeline of another run": None,
    }
    assert Recipe.from_params(params) == RECIPE
    del params["learning_parameters"]["num_workers"]
    assert Recipe.from_params(params) == RECIPE


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "train.json"
    path.write_text("a1")
    return path


def begin(checkpoints, file, recipe=RECIPE):
    resume.discard_foreign_checkpoints(checkpoints, recipe, [file])
    (checkpoints / "epoch_1.pth").write_bytes(b"weights")
    (checkpoints / "vis_data").mkdir()
    (checkpoints / "vis_data" / "scalars.json").write_text("{}\n")


def test_checkpoints_with_the_same_fingerprint_stay(tmp_path, file):
    checkpoints = tmp_path / "run" / "checkpoints"
    begin(checkpoints, file)
    renamed = replace(RECIPE, name="ATSS with another display name")
    reordered = replace(
        RECIPE, input_size=(416, 320), pipeline=[{"prob": 0.5, "type": "RandomFlip"}]
    )
    for recipe in (RECIPE, renamed, reordered):
        resume.discard_foreign_checkpoints(checkpoints, recipe, [file])
    assert (checkpoints / "epoch_1.pth").read_bytes() == b"weights"
    assert (checkpoints / "vis_data" / "scalars.json").exists()


@pytest.mark.parametrize("change", [*CHANGES, "file"])
def test_checkpoints_with_another_fingerprint_are_removed(tmp_path, file, change):
    checkpoints = tmp_path / "checkpoints"
    begin(checkpoints, file)
    recipe = RECIPE
    if change == "file":
        file.write_text("c3")
    else:
        recipe = replace(RECIPE, **{change: CHANGES[change]})
    resume.discard_foreign_checkpoints(checkpoints, recipe, [file])
    left = [path.name for path in checkpoints.iterdir()]
    (checkpoints / "epoch_1.pth").write_bytes(b"other weights")
    resume.discard_foreign_checkpoints(checkpoints, recipe, [file])
    assert (checkpoints / "epoch_1.pth").read_bytes() == b"other weights"
    assert len(left) == 1, "nothing but the fingerprint"


def test_checkpoints_without_a_fingerprint_are_removed(tmp_path, file):
    (tmp_path / "epoch_1.pth").write_bytes(b"weights")
    resume.discard_foreign_checkpoints(tmp_path, RECIPE, [file])
    assert not (tmp_path / "epoch_1.pth").exists()


QUANTIZATION = QuantizationAwareRecipe(
    pipeline=[],
    optimizer={"type": "AdamW"},
    learning_parameters=PARAMETERS,
    code=[],
    preset="mixed",
    stat_subset_size=300,
    num_iters=4,
    learning_rate=1e-4,
    maximal_accuracy_degradation=1.0,
    on_degradation="fail",
)


@pytest.mark.parametrize(
    "change, stays",
    [
        ({"on_degradation": "warn"}, True),
        ({"maximal_accuracy_degradation": 3.0}, True),
        ({"num_iters": 5}, False),
        ({"preset": "performance"}, False),
    ],
)
def test_fine_tuning_goes_on_when_only_its_budget_changes(tmp_path, file, change, stays):
    checkpoints = tmp_path / "nncf_checkpoints"
    begin(checkpoints, file, QUANTIZATION)
    resume.discard_foreign_checkpoints(checkpoints, replace(QUANTIZATION, **change), [file])
    assert (checkpoints / "epoch_1.pth").exists() == stays


@pytest.mark.parametrize(
    ("trained", "tuned"), [("none", "none"), ("light", "light"), ("strong", "light")]
)
def test_fine_tuning_changes_images_as_the_last_epochs_of_training(trained, tuned):
    parameters = replace(PARAMETERS, augmentation=trained)
    fine_tuning = replace(QUANTIZATION, learning_parameters=parameters).fine_tuning()
    assert fine_tuning.learning_parameters.augmentation == tuned
    assert fine_tuning.learning_parameters.strong_epochs == 0


@pytest.mark.parametrize("best, points, stops", [(0.79, 2.0, True), (0.79, 1.9, False)])
def test_resumed_fine_tuning_stops_if_an_epoch_is_within_half_the_budget(best, points, stops):
    training = SimpleNamespace(train_loop=SimpleNamespace(stop_training=False))
    hook = quantization_aware._StopWithinBudget(Budget(0.8, points), quantization_aware.SAFE_SHARE)
    hook.after_load_checkpoint(training, {"best": {"f-measure": best}})
    assert training.train_loop.stop_training is stops


def test_the_checkpoint_of_the_last_epoch_is_the_newest(tmp_path):
    for epoch in (10, 9):  # by name, 9 comes last
        with zipfile.ZipFile(tmp_path / f"epoch_{epoch}.pth", "w") as archive:
            archive.writestr("data", "weights")
    (tmp_path / "epoch_11.pth.partial").touch()
    assert resume.newest(tmp_path).name == "epoch_10.pth"


def test_without_checkpoints_there_is_no_newest(tmp_path):
    assert resume.newest(tmp_path / "checkpoints") is None


@pytest.fixture
def scalars(tmp_path):
    """MMEngine's own writer of scalars."""
    return LocalVisBackend(save_dir=str(tmp_path / "vis_data"))


def test_scalars_of_a_resumed_training(scalars, tmp_path):
    scalars.add_scalars({"lr": 0.1, "loss": 3.0, "epoch": 1}, step=10)
    scalars.add_scalars({"f-measure": 0.2, "mAP50": 0.1}, step=1)
    # After the checkpoint, a kill ends the second epoch's validation and cuts a line short.
    scalars.add_scalars({"lr": 0.2, "loss": 2.5, "epoch": 2}, step=20)
    scalars.add_scalars({"f-measure": 0.3, "mAP50": 0.2}, step=2)
    with (tmp_path / "vis_data/scalars.json").open("a") as file:
        file.write('{"lr": 0.')

    resume.mend_scalars(tmp_path, tmp_path / "epoch_1.pth")
    scalars.add_scalars({"lr": 0.2, "loss": 2.0, "epoch": 2}, step=20)
    scalars.add_scalars({"f-measure": 0.4, "mAP50": 0.25}, step=2)
    expected = pd.DataFrame(
        {
            "kind": ["train", "validation", "train", "validation"],
            "lr": [0.1, None, 0.2, None],
            "loss": [3.0, None, 2.0, None],
            "epoch": [1, None, 2, None],
            "step": [10, 1, 20, 2],
            "f-measure": [None, 0.2, None, 0.4],
            "mAP50": [None, 0.1, None, 0.25],
        }
    )
    pd.testing.assert_frame_equal(resume.read_scalars(tmp_path), expected, check_dtype=False)


def test_scalars_of_a_training_without_a_checkpoint_start_again(scalars, tmp_path):
    scalars.add_scalars({"lr": 0.1, "loss": 3.0, "epoch": 1}, step=10)
    resume.mend_scalars(tmp_path, None)
    assert (tmp_path / "vis_data/scalars.json").read_text() == ""


def test_a_nan_loss_still_counts_as_a_loss(scalars, tmp_path):
    scalars.add_scalars({"loss": math.nan}, step=10)
    scalars.add_scalars({"f-measure": 0.5}, step=10)
    assert resume.read_scalars(tmp_path)["kind"].tolist() == ["train", "validation"]
