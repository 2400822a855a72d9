"""The images of a training, augmented, in the order in which an epoch takes them."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

import detmake.model.network  # noqa: F401, makes MMDetection ready to be imported

# isort: split
from mmdet.datasets import CocoDataset
from mmengine.dataset import DefaultSampler
from mmengine.registry import init_default_scope

from detmake.data import subsets
from detmake.detections import Detections
from detmake.training.balance import repeat_factors, take
from detmake.training.boxes import BOX_TYPE
from detmake.training.random_numbers import drawn_for


class EpochSampler(DefaultSampler):
    """The keys of an epoch: processes that load images learn the epoch in no other way.

    Args:
        dataset, settings: as for MMEngine's sampler.
        balance: `repeat` takes images of rare classes more often (`training.balance`), and others
            less often, so that an epoch keeps its length; `none` takes each image once.
    """

    def __init__(self, dataset: CocoDataset, balance: str = "none", **settings: Any) -> None:
        super().__init__(dataset, **settings)
        self._factors = None
        if balance == "repeat":
            classes = [dataset.get_cat_ids(index) for index in range(len(dataset))]
            self._factors = repeat_factors(classes)

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """Yield the keys of `AugmentedDataset` in the epoch's order."""
        taken = np.arange(len(self.dataset))
        if self._factors is not None:
            taken = take(self._factors, np.random.default_rng([self.seed, self.epoch]))
        return ((self.epoch, place, int(taken[place])) for place in super().__iter__())


class AugmentedDataset(CocoDataset):
    """A dataset whose random numbers depend only on seed, epoch and place in the epoch.

    The place of an image that each epoch takes once is its index.
    """

    def __init__(self, seed: int, **settings: Any) -> None:
        super().__init__(**settings)
        self._seed = seed

    def __getitem__(self, key: tuple[int, int, int]) -> dict[str, Any]:
        """Return MMDetection's sample of (epoch, place, index)."""
        epoch, place, index = key
        with drawn_for("image", self._seed, epoch, place):
            return super().__getitem__(index)


def files(file: Path, coco: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of MMDetection's datasets that name a prepared subset's files."""
    return {
        "ann_file": str(file.resolve()),
        "data_prefix": {"img": str(Path(coco["info"]["image_root"]).resolve())},
        "metainfo": {"classes": subsets.class_names(coco)},
    }


def train_pipeline(
    pipeline: Sequence[Mapping[str, Any]], input_size: Sequence[int]
) -> list[Mapping[str, Any]]:
    """Return the MMDetection transforms from an image file to a training sample.

    Args:
        pipeline: the template's augmentations.
        input_size: width and height in pixels.
    """
    width, height = input_size
    augmentations = [dict(transform) for transform in pipeline]
    for transform in augmentations:
        if transform["type"] == "RandomChoiceResize":  # scales are relative to the input size
            scales = transform["scales"]
            transform["scales"] = [(round(w * width), round(h * height)) for w, h in scales]
    return [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations", "with_bbox": True, "box_type": BOX_TYPE},
        *augmentations,
        {"type": "PackDetInputs"},
    ]


def first_batch(
    train_file: Path,
    pipeline: Sequence[Mapping[str, Any]],
    input_size: Sequence[int],
    size: int,
    seed: int,
    balance: str,
) -> list[tuple[str, np.ndarray, Detections]]:
    """Return the images of the first batch as the network sees them, with their annotations.

    Args:
        train_file: prepared annotations of the train subset, or of its tiles.
        pipeline, input_size: as for `train_pipeline`.
        size: images in a batch.
        seed: seed of the training.
        balance: as for `EpochSampler`.

    Returns:
        File name; image (H, W, 3) uint8, BGR; boxes in its pixels, with a score of 1.
    """
    init_default_scope("mmdet")
    with redirect_stdout(io.StringIO()):  # hide pycocotools' progress
        dataset = AugmentedDataset(
            seed=seed,
            pipeline=train_pipeline(pipeline, input_size),
            **files(train_file, subsets.read(train_file)),
        )
    batch = []
    for key in islice(EpochSampler(dataset, balance, seed=seed), size):
        sample = dataset[key]
        annotated = sample["data_samples"].gt_instances
        boxes, labels = annotated.bboxes.numpy(), annotated.labels.numpy()
        image = np.ascontiguousarray(sample["inputs"].numpy().transpose(1, 2, 0))
        name = Path(sample["data_samples"].img_path).name
        batch.append((name, image, Detections(boxes, np.ones(len(boxes)), labels)))
    return batch
