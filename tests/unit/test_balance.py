"""Repeat-factor sampling: images of rare classes are taken more often, in epochs of one length."""

import json
from collections import Counter

import numpy as np
import pytest
import tiny_training

from detmake.data import subsets
from detmake.training.augmented_dataset import AugmentedDataset, EpochSampler, files, train_pipeline
from detmake.training.balance import repeat_factors, take


def test_factors_equal_those_by_hand():
    """Of 16 images, 16 show class 0, 8 class 1, 2 class 2, and 1 class 3."""
    classes = [[0, 0], [0, 1], [0, 1, 2], [3, 0]] + [[0, 1]] * 5 + [[0, 1, 2]] + [[0]] * 6
    rare, rarest = np.sqrt(0.5 * 16 / 2), np.sqrt(0.5 * 16)
    expected = [1, 1, rare, rarest] + [1] * 5 + [rare] + [1] * 6
    np.testing.assert_allclose(repeat_factors(classes), expected)


def test_an_image_without_annotations_counts_once():
    assert repeat_factors([[], [0]])[0] == 1


def test_each_image_is_taken_as_often_as_its_factor_asks_for():
    factors = np.array([1.0] * 90 + [5.0] * 10)
    random = np.random.default_rng(0)
    counts = [np.bincount(take(factors, random), minlength=100) for _ in range(200)]
    expected = factors * 100 / factors.sum()
    for epoch in counts:
        assert epoch.sum() == 100
        assert (np.floor(expected) <= epoch).all()
        assert (epoch <= np.ceil(expected)).all()
    np.testing.assert_allclose(np.mean(counts, 0), expected, atol=0.15)


def test_equal_factors_take_each_image_once():
    assert sorted(take(np.full(50, 2.5), np.random.default_rng(1))) == list(range(50))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Nine images of one class, and a tenth with another one, too."""
    folder = tmp_path_factory.mktemp("data")
    file = tiny_training.write_subset(folder, "train", 10)
    coco = subsets.read(file)
    coco["categories"].append({"id": 2, "name": "rare"})
    coco["annotations"].append(coco["annotations"][9] | {"id": 10, "category_id": 2})
    file.write_text(json.dumps(coco), encoding="utf-8")
    pipeline = train_pipeline(tiny_training.recipe().pipeline, (64, 64))
    return AugmentedDataset(seed=0, pipeline=pipeline, **files(file, coco))


def test_an_epoch_takes_the_rare_image_more_often(dataset):
    sampler = EpochSampler(dataset, "repeat", seed=3)
    taken = Counter()
    for epoch in range(40):
        sampler.set_epoch(epoch)
        keys = list(sampler)
        assert keys == list(sampler)
        assert sorted(place for _, place, _ in keys) == list(range(10))
        taken.update(index for _, _, index in keys)
    # √(0.5 / 0.1) = 2.24 of 11.24 in all
    assert taken[9] / taken.total() == pytest.approx(2.24 / 11.24, abs=0.03)


def test_an_image_that_is_taken_twice_is_augmented_twice(dataset):
    keys = [key for key in EpochSampler(dataset, "repeat", seed=0) if key[2] == 9]
    images = [dataset[key]["inputs"].numpy().tobytes() for key in keys]
    assert len(keys) > 1
    assert len(set(images)) > 1


def test_processes_share_a_balanced_epoch(dataset, monkeypatch):
    whole = list(EpochSampler(dataset, "repeat", seed=5))
    shares = []
    for rank in range(2):
        monkeypatch.setattr("mmengine.dataset.sampler.get_dist_info", lambda rank=rank: (rank, 2))
        shares.append(list(EpochSampler(dataset, "repeat", seed=5)))
    assert [key for pair in zip(*shares, strict=True) for key in pair] == whole
