"""Cut the images of a prepared subset into tiles: a prepared subset of its own, to train on."""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm
from tqdm.contrib.concurrent import thread_map

from detmake.data import subsets
from detmake.data.images import in_memory
from detmake.errors import InputError
from detmake.tiling import Tiling, Window

#: A box whose shorter side is below it at the network's input is tiny, in pixels, as objects of
#: AI-TOD are (Wang et al., ICPR 2021).
TINY = 16
#: The share of tiny boxes from which `size: auto` cuts images at all.
WORTHWHILE = 0.05
#: The share of a box's area that a tile must show, or else the box is left out of the tile; that
#: of DOTA's development kit, and of the tools of MMRotate and Ultralytics that cut DOTA's images.
LEFT = 0.7
#: Tiles without an object, at most, for each tile with one.
BACKGROUND = 0.25
#: A box whose shorter side is below it at the network's input is left out of a whole image, in
#: pixels: it is narrower than a cell of the finest feature map of most templates. Tiles show it.
VISIBLE = 8

log = logging.getLogger("detmake")


@dataclass(frozen=True)
class _Part:
    """A part of an image, with the boxes that it shows.

    Attributes:
        image: the image, an entry of the prepared subset.
        window: the part.
        annotations: its boxes, in pixels of the part, without ids.
        sources: the ids of these boxes in the prepared subset.
    """

    image: Mapping[str, Any]
    window: Window
    annotations: Sequence[Mapping[str, Any]]
    sources: Sequence[int]

    @property
    def is_whole(self) -> bool:
        return self.window == (0, 0, self.image["width"], self.image["height"])


def tiling_of(
    coco: Mapping[str, Any],
    input_size: Sequence[int],
    size: int | str,
    overlap: float,
    whole_image: bool,
) -> Tiling | None:
    """Return the tiling that the configuration's section `tiling` means for a train subset.

    Args:
        coco: the prepared train subset.
        input_size: (width, height) of the network's input in pixels.
        size: the longer side of a tile in pixels of the image, or `auto`: `automatic_size`.
        overlap, whole_image: as for `Tiling`.

    Returns:
        The tiling; None if `auto` finds that no image needs to be cut.
    """
    if size == "auto":
        size = automatic_size(coco, input_size)
        if size is None:
            return None
    width, height = (max(1, round(size * side / max(input_size))) for side in input_size)
    tiling = Tiling((width, height), float(overlap), whole_image)
    log.info("Tiles of %d×%d pixels, with %d×%d in common", *tiling.size, *tiling.common)
    sizes = {(image["width"], image["height"]) for image in coco["images"]}
    if all(len(tiling.windows(*one)) == 1 for one in sizes):
        log.warning("No image is larger than a tile, so none is cut: lower tiling.size")
    return tiling


def automatic_size(coco: Mapping[str, Any], input_size: Sequence[int]) -> int | None:
    """Return the size of tiles at which the network sees small objects well.

    Boxes are tiny if their shorter side is below `TINY` pixels once the whole image is resized to
    the network's input. Tiles are so large that the median tiny box has `TINY` pixels there, but
    not smaller than the input: enlarging shows no more detail.

    Args:
        coco: a prepared subset.
        input_size: (width, height) of the network's input in pixels.

    Returns:
        The longer side of a tile in pixels of the image; None if less than `WORTHWHILE` of the
        boxes are tiny, or if no image is larger than such a tile.
    """
    boxes = np.array([entry["bbox"][2:] for entry in coco["annotations"]])
    seen = subsets.box_sizes(coco, input_size).min(axis=1)
    tiny = seen < TINY
    share = f"{100 * tiny.mean():.1f} % of the boxes are below {TINY} pixels in whole images"
    if tiny.mean() < WORTHWHILE:
        log.info("No tiles: %s", share)
        return None
    median = float(np.median(boxes[tiny].min(axis=1)))
    size = round(max(input_size) * max(1.0, median / TINY))
    width, height = (round(size * side / max(input_size)) for side in input_size)
    if all(image["width"] <= width and image["height"] <= height for image in coco["images"]):
        log.info("No tiles: %s, but no image is larger than %d×%d", share, width, height)
        return None
    log.info("Tiles of %d pixels: %s, their median is %.1f pixels", size, share, median)
    return size


def cut(
    coco: Mapping[str, Any],
    tiling: Tiling | None,
    input_size: Sequence[int],
    folder: Path,
    place: str,
) -> dict[str, Any]:
    """Cut a prepared subset into tiles, and write their images.

    - A box is clipped to the tile. It is left out if less than `LEFT` of its area is left, or less
      than one pixel of a side. A crowd stays, however little is left.
    - Tiles without boxes are background. Evenly spread over the subset, at most `BACKGROUND` for
      each tile with boxes are kept, but none that shows a part of a box that was left out.
    - If the whole image counts, too, it is taken as it is, without boxes below `VISIBLE` pixels at
      the network's input. If none is left of several, the image is not taken.

    Args:
        coco: the prepared subset.
        tiling: how to cut it; None returns the subset as it is.
        input_size: (width, height) of the network's input in pixels.
        folder: receives the images of tiles, as PNG files, so that nothing is compressed twice.
        place: the folder's path once it is in its place, from the folder of the subset's file.

    Returns:
        A prepared subset (`checking.prepare`). `info` has `tiling` (`Tiling.describe`) and `tiles`,
        the place. In `images`, tiles have `is_tile`, and their `file_name` counts from the place,
        so that the subset names the tiles beside it also in a copy (`subsets.read`).

    Raises:
        InputError: no tile shows an object.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if tiling is None:
        return dict(coco)
    parts = list(_parts(coco, tiling, input_size))
    chosen = _chosen(parts)
    by_image: dict[int, list[_Part]] = {}
    for part in chosen:
        by_image.setdefault(part.image["id"], []).append(part)
    root = Path(coco["info"]["image_root"])
    written = thread_map(
        partial(_write, root, folder),
        by_image.values(),
        desc="Cutting images",
        unit="image",
        mininterval=2,
    )
    images = [entry for entries in written for entry in entries]
    parts = [part for parts in by_image.values() for part in parts]
    annotations = [
        (number, entry) for number, part in enumerate(parts, 1) for entry in part.annotations
    ]
    _report(coco, parts)
    return {
        "info": {**coco["info"], "tiles": place, "tiling": tiling.describe()},
        "categories": coco["categories"],
        "images": [{"id": number, **entry} for number, entry in enumerate(images, 1)],
        "annotations": [
            {"id": number, "image_id": image_id, **entry}
            for number, (image_id, entry) in enumerate(annotations, 1)
        ],
    }


def _parts(coco: Mapping[str, Any], tiling: Tiling, input_size: Sequence[int]) -> Iterator[_Part]:
    """Yield the parts of all images, but none that shows only boxes that are left out."""
    of_image: dict[int, list[Mapping[str, Any]]] = {image["id"]: [] for image in coco["images"]}
    for entry in coco["annotations"]:
        of_image[entry["image_id"]].append(entry)
    progress = tqdm(coco["images"], "Placing tiles", unit="image", delay=2, mininterval=2)
    for image in progress:
        entries, size = of_image[image["id"]], (image["width"], image["height"])
        boxes = np.array([entry["bbox"] for entry in entries], dtype=float).reshape(-1, 4)
        crowd = np.array([bool(entry["iscrowd"]) for entry in entries], dtype=bool)
        windows = tiling.windows(*size)
        for window in windows:
            inside, shares = _clip(boxes, window)
            if window != (0, 0, *size):
                fits = (shares >= LEFT) & (inside[:, 2:].min(axis=1, initial=np.inf) >= 1)
            elif len(windows) > 1:
                fits = (boxes[:, 2:] * input_size / size).min(axis=1, initial=np.inf) >= VISIBLE
            else:
                fits = np.ones(len(boxes), dtype=bool)
            shown = shares > 0
            taken = shown & (fits | crowd)
            if shown.any() and not taken.any():
                continue
            annotations = [
                {
                    "category_id": entries[at]["category_id"],
                    "bbox": inside[at].tolist(),
                    "area": float(inside[at, 2] * inside[at, 3]),
                    "iscrowd": entries[at]["iscrowd"],
                }
                for at in np.flatnonzero(taken)
            ]
            sources = [entries[at]["id"] for at in np.flatnonzero(taken)]
            yield _Part(image, window, annotations, sources)


def _clip(boxes: np.ndarray, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes (N, 4), xywh, as a window shows them, and the share of their area that is left.

    The clipped boxes are in pixels of the window.
    """
    low = np.clip(boxes[:, :2], window[:2], window[2:])
    high = np.clip(boxes[:, :2] + boxes[:, 2:], window[:2], window[2:])
    inside = np.hstack([low - window[:2], high - low])
    return inside, inside[:, 2:].prod(axis=1) / boxes[:, 2:].prod(axis=1)


def _chosen(parts: Sequence[_Part]) -> list[_Part]:
    """Return the parts with objects, and some without, in their order."""

    def has_object(part: _Part) -> bool:
        return any(not entry["iscrowd"] for entry in part.annotations)

    objects = [at for at, part in enumerate(parts) if has_object(part)]
    if not objects:
        raise InputError(
            f"tiling: no tile shows at least {100 * LEFT:g} % of an object. Raise tiling.size, or "
            "set tiling.whole_image: true"
        )
    empty = [at for at, part in enumerate(parts) if not part.annotations]
    count = round(BACKGROUND * len(objects))
    kept = subsets.evenly_spread(empty, count) if count else []
    return [parts[at] for at in sorted([*objects, *kept])]


def _write(root: Path, folder: Path, parts: Sequence[_Part]) -> list[dict[str, Any]]:
    """Write the tiles of one image; return the entries of its parts, without ids."""
    image = parts[0].image
    with in_memory(image["width"], image["height"]):
        return [*_written(root / image["file_name"], folder, image, parts)]


def _written(
    path: Path, folder: Path, image: Mapping[str, Any], parts: Sequence[_Part]
) -> Iterator[dict[str, Any]]:
    size = {"width": image["width"], "height": image["height"]}
    pixels = None
    for part in parts:
        if part.is_whole:
            yield {"file_name": image["file_name"], **size, "sha256": image["sha256"]}
            continue
        if pixels is None:
            pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        left, top, right, bottom = part.window
        content = cv2.imencode(".png", pixels[top:bottom, left:right])[1].tobytes()
        name = f"{image['id']}_{left}_{top}.png"
        (folder / name).write_bytes(content)
        yield {
            "file_name": name,
            "is_tile": True,
            "width": right - left,
            "height": bottom - top,
            "sha256": hashlib.sha256(content).hexdigest(),
        }


def _report(coco: Mapping[str, Any], parts: Sequence[_Part]) -> None:
    """Log what came out."""
    empty = sum(not part.annotations for part in parts)
    whole = sum(part.is_whole for part in parts)
    log.info(
        "%d images became %d: %d whole ones, %d tiles; %d are background",
        *(len(coco["images"]), len(parts), whole, len(parts) - whole, empty),
    )
    shown = {source for part in parts for source in part.sources}
    if lost := len(coco["annotations"]) - len(shown):
        log.warning(
            "%d of %d boxes are in no tile, mostly since they are larger than what tiles have in "
            "common: for these, set tiling.whole_image: true, or raise tiling.size",
            *(lost, len(coco["annotations"])),
        )
