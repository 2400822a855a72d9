"""The images of a training, augmented, in the order in which an epoch takes them."""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import Compose

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

    Args:
        seed: seed of the training.
        mosaic: None, or what joins images in the first epochs instead of `pipeline`: `epochs`, how
            many these are; `load`, the transforms of each image; `mix`, those of the joined ones.
        settings: as for CocoDataset; `pipeline` is that of the other epochs.
    """

    def __init__(self, seed: int, mosaic: Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self._seed = seed
        self._epoch = self._mosaic_epochs = 0
        if mosaic:
            self._mosaic_epochs = mosaic["epochs"]
            self._load, self._mix = Compose(mosaic["load"]), Compose(mosaic["mix"])

    def __getitem__(self, key: tuple[int, int, int]) -> dict[str, Any]:
        """Return MMDetection's sample of (epoch, place, index)."""
        self._epoch, place, index = key
        with drawn_for("image", self._seed, self._epoch, place):
            return super().__getitem__(index)

    def parse_data_info(self, raw_data_info: dict[str, Any]) -> dict[str, Any]:
        """Return MMDetection's entry of an image, which may be a tile in a folder of its own."""
        info = super().parse_data_info(raw_data_info)
        image = raw_data_info["raw_img_info"]
        if image.get("is_tile"):
            info["img_path"] = os.path.join(self.data_prefix["tiles"], image["file_name"])
        return info

    def prepare_data(self, index: int) -> dict[str, Any] | None:
        """Return the sample of an image; None if the template's pipeline rejects it."""
        if self._epoch >= self._mosaic_epochs:
            return super().prepare_data(index)
        indices = [index, *self._mix.transforms[0].get_indexes(self)]
        first, *others = (self._load(self.get_data_info(one)) for one in indices)
        return self._mix({**first, "mix_results": others})


def files(file: Path, coco: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of MMDetection's datasets that name a prepared subset's files."""
    info = coco["info"]
    tiles = {"tiles": info["tiles"]} if "tiles" in info else {}
    return {
        "ann_file": str(file.resolve()),
        "data_prefix": {"img": str(Path(info["image_root"]).resolve()), **tiles},
        "metainfo": {"classes": subsets.class_names(coco)},
    }


def transforms(
    augmentation: str,
    pipeline: Sequence[Mapping[str, Any]],
    input_size: Sequence[int],
    strong_epochs: int,
) -> dict[str, Any]:
    """Return the arguments of `AugmentedDataset` that say how images are changed.

    `none` only resizes them, and `light` changes them by the template's pipeline. `strong` does
    more at first. Before the pipeline, it joins four images and zooms, as small YOLOX networks
    learn (Ge, Liu, Wang, Li, Sun: YOLOX: Exceeding YOLO Series in 2021, arXiv 2107.08430), but
    without rotation and shear, which would enlarge boxes. After the pipeline, it changes
    brightness, contrast and saturation by at most as much as MMDetection's PhotoMetricDistortion.
    Gray images stay gray, and hues stay.

    Args:
        augmentation: `none`, `light` or `strong`.
        pipeline: the template's augmentations.
        input_size: width and height in pixels.
        strong_epochs: first epochs in which `strong` is more than `light`.
    """
    width, height = input_size
    resize = {"type": "Resize", "scale": (width, height), "keep_ratio": False}
    load, annotations, *augmentations, pack = train_pipeline(
        [resize] if augmentation == "none" else pipeline, input_size
    )
    mosaic = None
    if augmentation == "strong":
        mix = [
            # Twice as wide and high. What comes next zooms from the upper left corner.
            {"type": "Mosaic", "img_scale": (width, height), "center_ratio_range": (0.5, 1.0)},
            {
                "type": "RandomAffine",
                "scaling_ratio_range": (0.5, 1.5),
                "max_rotate_degree": 0.0,
                "max_shear_degree": 0.0,
                "border": (-width // 2, -height // 2),
            },
            {"type": "FilterAnnotations", "min_gt_bbox_wh": (1, 1), "keep_empty": False},
            *augmentations,
            {"type": "Brightness", "prob": 0.5, "min_mag": 0.875, "max_mag": 1.125},
            {"type": "Contrast", "prob": 0.5, "min_mag": 0.5, "max_mag": 1.5},
            {"type": "Color", "prob": 0.5, "min_mag": 0.5, "max_mag": 1.5},
            pack,
        ]
        mosaic = {"epochs": strong_epochs, "load": [load, annotations, resize], "mix": mix}
    return {"pipeline": [load, annotations, *augmentations, pack], "mosaic": mosaic}


def train_pipeline(
    pipeline: Sequence[Mapping[str, Any]], input_size: Sequence[int]
) -> list[Mapping[str, Any]]:
    """Return the MMDetection transforms from an image file to a training sample.

    Args:
        pipeline: augmentations.
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
    augmentation: str,
) -> list[tuple[str, np.ndarray, Detections]]:
    """Return the images of the first batch as the network sees them, with their annotations.

    Args:
        train_file: prepared annotations of the train subset, or of its tiles.
        pipeline, input_size: as for `transforms`.
        size: images in a batch.
        seed: seed of the training.
        balance: as for `EpochSampler`.
        augmentation: as for `transforms`.

    Returns:
        File name; image (H, W, 3) uint8, BGR; boxes in its pixels, with a score of 1.
    """
    init_default_scope("mmdet")
    with redirect_stdout(io.StringIO()):  # hide pycocotools' progress
        dataset = AugmentedDataset(
            seed=seed,
            **transforms(augmentation, pipeline, input_size, strong_epochs=1),
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
