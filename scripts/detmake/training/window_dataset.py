"""Validation in tiles during training, as the finished detector will look at images."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmcv.transforms import BaseTransform
from mmdet.datasets import CocoDataset

from detmake.detections import Detections
from detmake.model.detector import test_pipeline
from detmake.runtime import tiled
from detmake.runtime.images import read_image
from detmake.tiling import Tiling, Window


class WindowDataset(CocoDataset):
    """A dataset of a subset's images in parts: one sample for each part, image by image.

    Args:
        tiling: how to cut the images.
        input_size: width and height in pixels that a part is resized to.
        settings: as for CocoDataset, without `pipeline`.
    """

    def __init__(self, tiling: Tiling, input_size: Sequence[int], **settings: Any) -> None:
        self._tiling = tiling
        *steps, pack = test_pipeline(input_size)[1:]
        pack = {**pack, "meta_keys": (*pack["meta_keys"], "window")}
        super().__init__(pipeline=[{"type": _LoadWindow}, *steps, pack], **settings)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return an entry of MMDetection for each part, with its `window`."""
        return [
            {**image, "instances": [], "window": window}  # a validation reads no boxes
            for image in super().load_data_list()
            for window in self._tiling.windows(image["width"], image["height"])
        ]


class _LoadWindow(BaseTransform):
    """Load a part of an image; the last image stays in memory, since its parts come in a row."""

    def __init__(self) -> None:
        self._read = lru_cache(maxsize=1)(read_image)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        left, top, right, bottom = results["window"]
        part = self._read(Path(results["img_path"]))[top:bottom, left:right]
        return {**results, "img": part, "img_shape": part.shape[:2], "ori_shape": part.shape[:2]}


def merged(
    found: Mapping[tuple[int, Window], Detections], coco: Mapping[str, Any], tiling: Tiling
) -> dict[int, Detections]:
    """Merge the detections in the parts of each image.

    Args:
        found: detections in pixels of the part, by image id and part.
        coco: the prepared subset.
        tiling: how its images were cut.

    Returns:
        Detections in pixels of the image, by image id.
    """
    whole = {}
    for image in coco["images"]:
        size = image["width"], image["height"]
        windows = tiling.windows(*size)
        parts = [found[image["id"], window] for window in windows]
        whole[image["id"]] = tiled.merge(parts, windows, size, tiling)
    return whole
