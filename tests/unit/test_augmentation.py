"""What `none`, `light` and `strong` make of training images."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import tiny_training
from torch.utils.data import DataLoader

from detmake.data import subsets
from detmake.training.augmented_dataset import AugmentedDataset, EpochSampler, files, transforms

PIPELINE = tiny_training.recipe().pipeline
WIDTH, HEIGHT = 64, 96
STRONG_EPOCHS = 9


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Six gray images of 128×96 pixels, in files with one channel, with a box each."""
    folder = tmp_path_factory.mktemp("data")
    file = tiny_training.write_subset(folder, "train", 6)
    for path in folder.glob("*.png"):
        cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    return file


def dataset(file, augmentation, pipeline=PIPELINE):
    changes = transforms(augmentation, pipeline, (WIDTH, HEIGHT), STRONG_EPOCHS)
    return AugmentedDataset(seed=3, **changes, **files(file, subsets.read(file)))


def content(sample):
    """The image (H, W, 3), the boxes (N, 4) and the labels (N,) of a sample."""
    annotated = sample["data_samples"].gt_instances
    image = sample["inputs"].numpy().transpose(1, 2, 0)
    return image, annotated.bboxes.tensor.numpy(), annotated.labels.numpy()


def same(first, second):
    return all(map(np.array_equal, content(first), content(second)))


def originals(file):
    """Images resized to the input, and their boxes in it."""
    coco = subsets.read(file)
    for path, annotation in zip(subsets.image_paths(coco), coco["annotations"], strict=True):
        x, y, width, height = annotation["bbox"]
        image = cv2.resize(cv2.imread(str(path)), (WIDTH, HEIGHT))
        yield image, np.array([x / 2, y, (x + width) / 2, y + height])


def test_none_only_resizes(file):
    plain = dataset(file, "none")
    for index, (image, box) in enumerate(originals(file)):
        for epoch in (0, STRONG_EPOCHS):
            found, boxes, _ = content(plain[epoch, index, index])
            np.testing.assert_array_equal(found, image)
            np.testing.assert_allclose(boxes, [box], atol=1e-4)


def test_strong_joins_four_images_and_moves_their_boxes(file, monkeypatch):
    """Without zoom, they meet at three quarters of the width and height: 48, 72.

    The first image ends there, so it is moved by 48 - 64 and 72 - 96; the others begin there, to
    the right, below, or both. What is outside of 64×96 is cut off.
    """
    middle = SimpleNamespace(
        uniform=lambda low, high: (low + high) / 2, randint=lambda low, high: 5
    )
    monkeypatch.setattr("mmdet.datasets.transforms.transforms.random", middle)
    monkeypatch.setattr(np.random, "rand", lambda: 1.0)  # no change of light and colour
    found, boxes, labels = content(dataset(file, "strong", pipeline=[])[0, 2, 2])
    images, own = zip(*originals(file), strict=True)
    expected = np.zeros_like(found)
    expected[:72, :48] = images[2][24:, 16:]
    expected[:72, 48:] = images[5][24:, :16]
    expected[72:, :48] = images[5][:24, 16:]
    expected[72:, 48:] = images[5][:24, :16]
    np.testing.assert_array_equal(found, expected)
    limits = [WIDTH, HEIGHT, WIDTH, HEIGHT]
    moved = [
        np.clip(own[index] + [dx, dy, dx, dy], 0, limits)
        for index, dx, dy in ((2, -16, -24), (5, 48, -24), (5, -16, 72), (5, 48, 72))
    ]
    moved = [box for box in moved if (box[2:] - box[:2] > 1).all()]
    assert 1 < len(moved) < 4  # of some images, the disc is cut off
    np.testing.assert_allclose(boxes, moved, atol=1e-4)
    assert labels.tolist() == [0] * len(moved)


def test_strong_ends_as_light(file):
    light, strong = dataset(file, "light"), dataset(file, "strong")
    for epoch, last in ((0, False), (8, False), (9, True), (10, True)):
        for index in range(2):
            key = epoch, index, index
            assert same(light[key], strong[key]) == last


def test_strong_keeps_gray_images_gray(file):
    """It changes their light all the same."""
    strong = dataset(file, "strong", pipeline=[])
    brightest = set()
    for place in range(20):
        image, boxes, _ = content(strong[0, place, place % 6])
        assert image.dtype == np.uint8
        assert image.shape == (HEIGHT, WIDTH, 3)
        assert (image == image[..., :1]).all()
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= [WIDTH, HEIGHT]).all()
        brightest.add(image.max())
    assert len(brightest) > 5


def test_samples_do_not_depend_on_who_loads_them_or_what_came_before(file):
    strong = dataset(file, "strong")
    sampler = EpochSampler(strong, seed=3)
    for epoch in (9, 8):  # `light`, and back to the joined images
        sampler.set_epoch(epoch)
        loaders = (
            DataLoader(
                strong, 1, sampler=sampler, num_workers=count, collate_fn=lambda batch: batch
            )
            for count in (0, 2)
        )
        for (alone,), (shared,) in zip(*loaders, strict=True):
            assert same(alone, shared)
