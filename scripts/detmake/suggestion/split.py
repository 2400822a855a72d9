"""The seed of a split: of a hundred, the one whose subsets have the most even shares of classes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from detmake.data.annotated import Source
from detmake.data.selection import groups_of, position, split_name

#: Seeds that are tried, from 0.
SEEDS = 100


def subset_names(
    found: Mapping[str, Source], coco: Mapping[str, Any], groups: Mapping[str, str], seed: int
) -> np.ndarray:
    """Return the name of the subset of each image of a dataset that is split.

    Args:
        found: the sources of a split dataset (`data.sources.locate`).
        coco: prepared, with all images that are split.
        groups: of images, by name (`selection.split_name`); they count before a pattern.
        seed: of the positions.

    Returns:
        (N,) str, in the order of the images; the empty text where a share leaves images out.
    """
    shares = {name: source.share for name, source in found.items() if source.share}
    names = list(map(split_name, coco["images"]))
    groups = {**groups_of(names, shares["train"]), **groups}
    keys = [groups.get(name, name) for name in names]
    positions = np.array([position(key, seed) for key in keys])
    found_in = np.full(len(keys), "", dtype=object)
    for name, share in shares.items():
        found_in[(share.low <= positions) & (positions < share.high)] = name
    return found_in


def best_seed(
    found: Mapping[str, Source], coco: Mapping[str, Any], groups: Mapping[str, str]
) -> int:
    """Return the seed with the most even shares of images and of each class's boxes.

    It minimizes the sum of squares of (share - wanted) / wanted over subsets and classes, so that a
    rare class counts as much as a frequent one. A seed that leaves a subset without boxes is taken
    only if all do.

    Args:
        found, coco, groups: as for `subset_names`.
    """
    shares = {name: source.share for name, source in found.items() if source.share}
    wanted = pd.Series({name: share.high - share.low for name, share in shares.items()})
    counts = _boxes_of_classes(coco)
    counts["images"] = 1
    counts /= counts.sum()

    def unevenness(seed: int) -> tuple[int, float]:
        names = subset_names(found, coco, groups, seed)
        given = counts.groupby(names).sum().reindex(wanted.index, fill_value=0)
        without_boxes = int((given.drop(columns="images").sum(axis=1) == 0).sum())
        squares = ((given.sub(wanted, axis=0).div(wanted, axis=0)) ** 2).to_numpy()
        return without_boxes, float(squares.sum())

    return min(range(SEEDS), key=unevenness)


def _boxes_of_classes(coco: Mapping[str, Any]) -> pd.DataFrame:
    """Return the number of boxes of each image (row) and class that has boxes (column)."""
    rows = {image["id"]: row for row, image in enumerate(coco["images"])}
    boxes = pd.DataFrame(
        {
            "row": [rows[entry["image_id"]] for entry in coco["annotations"]],
            "class": [entry["category_id"] for entry in coco["annotations"]],
        }
    )
    counts = pd.crosstab(boxes["row"], boxes["class"])
    return counts.reindex(range(len(rows)), fill_value=0).astype(float)
