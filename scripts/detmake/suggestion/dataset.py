"""The dataset that a suggestion is about: prepared once, and split by the best seed."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from detmake.data import checking, sources, subsets
from detmake.data.near_duplicates import clusters as near_duplicates_of
from detmake.data.selection import split_name
from detmake.errors import InputError
from detmake.suggestion.split import best_seed, subset_names

#: Share of near-duplicates above which they are only reported: most are then alike for another
#: reason, such as a fixed camera, and their groups would fill a subset.
MOST_NEAR_DUPLICATES = 0.2


@dataclass(frozen=True)
class Dataset:
    """A user's dataset.

    Attributes:
        data: the value for the key `data`; a split has its seed.
        subsets: prepared subsets by name: train, val and, if there is one, test.
        groups: of near-duplicates that shall stay together: the first name of each, by name
            (`selection.split_name`).
        near_duplicates: share of the images that look nearly like another one, in [0, 1].
        has_best_seed: whether its seed is the best of those that were tried.
    """

    data: str | Mapping[str, Any]
    subsets: Mapping[str, Mapping[str, Any]]
    groups: Mapping[str, str]
    near_duplicates: float
    has_best_seed: bool = False

    @property
    def test(self) -> Mapping[str, Any]:
        """The subset that serves as test."""
        return self.subsets.get("test", self.subsets["val"])

    def with_groups(self, file: Path) -> "Dataset":
        """Return the dataset with a file of groups, yet to be written, if it has groups."""
        return replace(self, data={**self.data, "groups": str(file)}) if self.groups else self

    def groups_csv(self) -> str:
        """Return the content of the file of groups."""
        groups = pd.DataFrame({"image": self.groups.keys(), "group": self.groups.values()})
        return groups.to_csv(index=False)

    def boxes(self) -> pd.DataFrame:
        """Return `class`, and `width` and `height` in parts of the image's, of the train boxes."""
        coco = self.subsets["train"]
        names = np.array(subsets.class_names(coco), dtype=object)
        boxes = pd.DataFrame(subsets.box_sizes(coco, (1, 1)), columns=["width", "height"])
        boxes["class"] = names[[entry["category_id"] - 1 for entry in coco["annotations"]]]
        return boxes

    def images_of_classes(self) -> pd.Series:
        """Return on how many train images each class is, by its name; 0 counts."""
        coco = self.subsets["train"]
        pairs = {(entry["category_id"], entry["image_id"]) for entry in coco["annotations"]}
        images = Counter(category for category, _ in pairs)
        names = subsets.class_names(coco)
        return pd.Series({name: images[number] for number, name in enumerate(names, 1)})

    def image_size(self) -> tuple[int, int]:
        """Return the median width and height of the train images, in pixels."""
        sizes = [(image["width"], image["height"]) for image in self.subsets["train"]["images"]]
        width, height = np.median(sizes, axis=0)
        return round(width), round(height)


def read(data: str | Mapping[str, Any]) -> Dataset:
    """Check a dataset, and choose the seed of its split if it has none.

    Args:
        data: as for `data.sources.locate`, with all that it needs (`sources.with_val`).

    Raises:
        InputError: as for `data.checking.prepare`, or the split leaves a subset without boxes.
    """
    found = dict(sources.locate(data))
    if found["test"] == found["val"]:
        del found["test"]  # val serves as test
    whole = checking.prepare(replace(found["train"], share=None), None, "train")
    classes = subsets.class_names(whole)
    prepared, names = {"train": whole}, None
    groups = _near_duplicates(whole)
    near_duplicates = len(groups) / len(whole["images"])
    has_best_seed = bool(found["train"].share) and data.get("seed") is None
    if found["train"].share:
        given = data.get("group") or data.get("groups")
        if given or near_duplicates > MOST_NEAR_DUPLICATES:
            groups = {}
        if has_best_seed:
            data = {**data, "seed": best_seed(found, whole, groups)}
        names = subset_names(found, whole, groups, data["seed"])
    else:
        groups = {}
    for subset, source in found.items():
        if source.share:
            taken = [whole["images"][row] for row in np.flatnonzero(names == subset)]
            prepared[subset] = subsets.with_images(whole, taken)
            if all(entry["iscrowd"] for entry in prepared[subset]["annotations"]):
                raise InputError(
                    f"{found['train'].annotations}: with the seed {data['seed']}, the split of "
                    f"{len(names)} images leaves none with boxes to {subset}. Add images, or set "
                    "larger shares in `split`, or another `group` or `seed`."
                )
        elif subset != "train":
            prepared[subset] = checking.prepare(source, classes, subset)
    return Dataset(data, prepared, groups, near_duplicates, has_best_seed)


def _near_duplicates(coco: Mapping[str, Any]) -> dict[str, str]:
    """Return the first name of each group of near-duplicates, by name."""
    images = coco["images"]
    groups = {}
    for cluster in near_duplicates_of([image["dhash"] for image in images]):
        names = sorted(split_name(images[index]) for index in cluster)
        groups |= dict.fromkeys(names, names[0])
    return groups
