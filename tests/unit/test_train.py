"""The parts of a training that need no training."""

import json
import math
import os

import pandas as pd
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData
from mmengine.visualization import LocalVisBackend

from detmake.training import train

# Schedule


@pytest.mark.parametrize(
    ("iterations", "interval"),
    [(1, 5), (4, 5), (5, 4), (32, 2), (48, 2), (49, 1), (64, 1), (9999, 1)],
)
def test_validation_interval(iterations, interval):
    # In the OTX tutorial's log: every 2 epochs with 32 iterations an epoch.
    assert train.validation_interval(iterations) == interval


def settings(**learning_parameters):
    return {
        "optimizer": {"type": "AdamW"},
        "learning_parameters": {
            "batch_size": 8,
            "num_iters": 10,
            "learning_rate": 0.004,
            "learning_rate_warmup_iters": 50,
            "learning_rate_schedule": "cosine",
            "learning_rate_patience": 3,
            "use_adaptive_interval": True,
            "enable_early_stopping": False,
            "early_stop_patience": 8,
            **learning_parameters,
        },
    }


def learning_rates(num_images, **learning_parameters):
    """Learning rate of each iteration, by MMEngine's schedulers of a schedule."""
    from mmengine.registry import PARAM_SCHEDULERS

    schedule = train.schedule(settings(**learning_parameters), num_images)
    optimizer = torch.optim.SGD(
        [torch.nn.Parameter(torch.zeros(1))], lr=learning_parameters.get("learning_rate", 0.004)
    )
    schedulers = [
        PARAM_SCHEDULERS.build({**scheduler, "optimizer": optimizer})
        for scheduler in schedule["param_scheduler"]
    ]
    rates = []
    for _ in range(10 * math.ceil(num_images / 8)):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


def test_learning_rate_warms_up_and_falls():
    rates = learning_rates(num_images=250)  # 32 iterations an epoch, 320 in all
    assert rates[0] == pytest.approx(0.004 / 3)
    assert max(rates) == pytest.approx(0.004)
    assert 49 <= rates.index(max(rates)) <= 50
    assert rates[:50] == sorted(rates[:50])
    assert rates[50:] == sorted(rates[50:], reverse=True)
    # Half of the way from there to the end, the mean of the highest and the lowest rate.
    assert rates[50 + 135] == pytest.approx(0.004 * (1 + 0.01) / 2, rel=0.01)
    assert rates[-1] == pytest.approx(0.004 * 0.01, rel=0.02)


def test_a_short_training_warms_up_for_half_of_it_at_most():
    rates = learning_rates(num_images=16)  # 20 iterations in all
    assert 9 <= rates.index(max(rates)) <= 10
    assert max(rates) == pytest.approx(0.004)


def test_learning_rate_without_warmup():
    rates = learning_rates(num_images=80, learning_rate_warmup_iters=0)
    assert rates[0] == pytest.approx(0.004)
    assert rates == sorted(rates, reverse=True)


def test_even_the_shortest_training_is_validated():
    schedule = train.schedule(settings(num_iters=3), num_images=8)
    assert schedule["train_cfg"]["val_interval"] == 3
    schedule = train.schedule(settings(use_adaptive_interval=False), num_images=8)
    assert schedule["train_cfg"]["val_interval"] == 1


@pytest.mark.parametrize("enabled", [True, False])
def test_early_stopping_follows_its_switch(enabled):
    schedule = train.schedule(settings(enable_early_stopping=enabled), num_images=8)
    types = [hook["type"] for hook in schedule["custom_hooks"]]
    assert ("EarlyStoppingHook" in types) is enabled


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
    """What MMDetection hands to a metric for an image: (label, xyxy, score) each."""
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
    evaluator = Evaluator(train._ValidationMetric(coco))
    evaluator.process(
        [
            sample(
                8, (0, [0, 0, 10, 20], 0.9), (1, [50, 50, 60, 70], 0.4), (0, [70, 0, 80, 20], 0.2)
            ),
            sample(5),
        ]
    )
    evaluator.process([sample(6, (1, [30, 30, 50, 40], 0.6))])  # of the wrong class
    metrics = evaluator.evaluate(3)
    # From 0.225 on: two right of three found, and three to find.
    assert metrics["confidence_threshold"] == 0.225
    assert metrics["f-measure"] == pytest.approx(2 * 2 / (3 + 3))
    # Red: one of two, before anything wrong. White: precision 1/2 for all of the recall.
    assert metrics["mAP50"] == pytest.approx((51 / 101 + 1 / 2) / 2)

    evaluator.process([sample(8), sample(5), sample(6)])
    assert evaluator.evaluate(3)["f-measure"] == 0


# What an interrupted training left


ORIGIN = {"settings": {"model": {"type": "ATSS"}, "input_size": [416, 320]}, "data": ["a1", "b2"]}


def other_origins():
    return [
        {**ORIGIN, "data": ["a1", "c3"]},
        {**ORIGIN, "settings": {"model": {"type": "ATSS"}, "input_size": [320, 416]}},
    ]


def begin(checkpoints):
    train.discard_foreign_checkpoints(checkpoints, ORIGIN)
    (checkpoints / "epoch_1.pth").write_bytes(b"weights")
    (checkpoints / "vis_data").mkdir()
    (checkpoints / "vis_data" / "scalars.json").write_text("{}\n")


def test_checkpoints_of_the_same_origin_stay(tmp_path):
    checkpoints = tmp_path / "run" / "checkpoints"
    begin(checkpoints)
    train.discard_foreign_checkpoints(checkpoints, json.loads(json.dumps(ORIGIN)))
    train.discard_foreign_checkpoints(checkpoints, dict(reversed(ORIGIN.items())))
    assert (checkpoints / "epoch_1.pth").read_bytes() == b"weights"
    assert (checkpoints / "vis_data" / "scalars.json").exists()


@pytest.mark.parametrize("origin", other_origins())
def test_checkpoints_of_another_origin_go(tmp_path, origin):
    checkpoints = tmp_path / "checkpoints"
    begin(checkpoints)
    train.discard_foreign_checkpoints(checkpoints, origin)
    left = [path.name for path in checkpoints.iterdir()]
    (checkpoints / "epoch_1.pth").write_bytes(b"other weights")
    train.discard_foreign_checkpoints(checkpoints, origin)
    assert (checkpoints / "epoch_1.pth").read_bytes() == b"other weights"
    assert len(left) == 1, "nothing but the description of the origin"


def test_checkpoints_of_unknown_origin_go(tmp_path):
    (tmp_path / "epoch_1.pth").write_bytes(b"weights")
    train.discard_foreign_checkpoints(tmp_path, ORIGIN)
    assert not (tmp_path / "epoch_1.pth").exists()


def test_the_best_checkpoint_is_the_latest_of_the_best(tmp_path):
    # By its number, epoch 10 comes before epoch 9; a killed process can leave both.
    for age, epoch in ((20, 9), (10, 10)):
        path = tmp_path / f"best_f-measure_epoch_{epoch}.pth"
        path.write_bytes(b"weights")
        os.utime(path, (1e9 - age, 1e9 - age))
    assert train._best_checkpoint(tmp_path).name == "best_f-measure_epoch_10.pth"


def test_without_a_best_checkpoint_the_last_one_serves(tmp_path):
    path = tmp_path / "epoch_3.pth"
    (tmp_path / "last_checkpoint").write_text(str(path))
    assert train._best_checkpoint(tmp_path) == path


@pytest.fixture
def scalars(tmp_path):
    """MMEngine's file of scalars, written by MMEngine."""
    return LocalVisBackend(save_dir=str(tmp_path / "vis_data"))


def test_scalars_of_a_resumed_training(scalars, tmp_path):
    scalars.add_scalars({"lr": 0.1, "loss": 3.0, "epoch": 1}, step=10)
    scalars.add_scalars({"f-measure": 0.2, "mAP50": 0.1}, step=1)
    scalars.add_scalars({"lr": 0.2, "loss": 2.5, "epoch": 2}, step=20)
    scalars.add_scalars({"f-measure": 0.3, "mAP50": 0.2}, step=2)
    # Interrupted: the second epoch again.
    scalars.add_scalars({"lr": 0.2, "loss": 2.0, "epoch": 2}, step=20)
    scalars.add_scalars({"f-measure": 0.4, "mAP50": 0.25}, step=2)
    # Its number is that of an iteration, too.
    scalars.add_scalars({"f-measure": 0.5, "mAP50": 0.3}, step=10)

    found = train.read_scalars(tmp_path)
    expected = pd.DataFrame(
        {
            "kind": ["train", "validation", "train", "validation", "validation"],
            "lr": [0.1, None, 0.2, None, None],
            "loss": [3.0, None, 2.0, None, None],
            "epoch": [1, None, 2, None, None],
            "step": [10, 1, 20, 2, 10],
            "f-measure": [None, 0.2, None, 0.4, 0.5],
            "mAP50": [None, 0.1, None, 0.25, 0.3],
        }
    )
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


def test_a_loss_that_is_no_number_is_still_a_loss(scalars, tmp_path):
    scalars.add_scalars({"loss": math.nan}, step=10)
    scalars.add_scalars({"f-measure": 0.5}, step=10)
    assert train.read_scalars(tmp_path)["kind"].tolist() == ["train", "validation"]
