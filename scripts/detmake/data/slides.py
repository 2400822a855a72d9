"""Draw the embedded slides dataset: large images with small objects, laid out as a COCO export.

A slide is put together from images of the cells dataset, as a slide scanner does from fields of
view. Platelets are its small objects, of 10 to 20 pixels; white cells are larger. Red cells have no
boxes, so that they are part of the background.
"""

from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from detmake.artifacts import write_json
from detmake.data import cells
from detmake.data.sources import ANNOTATION_FILE

#: Number of images of each subset.
SUBSETS: dict[str, int] = {"train": 4, "valid": 2, "test": 2}
#: Fields of view in a row and in a column of a slide.
COLUMNS, ROWS = 6, 6

_CATEGORIES = {cells.PLATELET: 1, cells.WBC: 2}
_SEED = 20260


def write_subset(folder: Path, subset: str) -> None:
    """Write the images of one subset to `folder`, then their annotations.

    Args:
        folder: created if missing; receives `slide_0.png` and so on, 1920x1440 pixels, and
            `_annotations.coco.json` with boxes as xywh in pixels.
        subset: a key of `SUBSETS`.

    Raises:
        KeyError: `subset` is not a key of `SUBSETS`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    width, height = COLUMNS * cells.WIDTH, ROWS * cells.HEIGHT
    images, annotations = [], []
    indices = range(SUBSETS[subset])
    for index in tqdm(indices, f"Drawing {subset}", unit="image", mininterval=2):
        name = f"slide_{index}.png"
        slide = np.empty((height, width, 3), np.uint8)
        for field in range(COLUMNS * ROWS):
            rng = np.random.default_rng([_SEED, list(SUBSETS).index(subset), index, field])
            picture, drawn = cells.draw_image(rng)
            left, top = field % COLUMNS * cells.WIDTH, field // COLUMNS * cells.HEIGHT
            slide[top : top + cells.HEIGHT, left : left + cells.WIDTH] = picture
            for cell in drawn:
                if cell.category_id in _CATEGORIES:
                    x, y, *sides = cells.visible_box(cell.outline)
                    annotations.append(
                        {
                            "id": len(annotations) + 1,
                            "image_id": index,
                            "category_id": _CATEGORIES[cell.category_id],
                            "bbox": [round(left + x, 1), round(top + y, 1), *sides],
                            "area": sides[0] * sides[1],
                            "iscrowd": 0,
                        }
                    )
        (folder / name).write_bytes(cv2.imencode(".png", slide)[1].tobytes())
        images.append({"id": index, "file_name": name, "width": width, "height": height})
    coco = {
        "info": {"description": f"Drawn slides of blood, subset {subset}"},
        "licenses": [],
        "categories": [
            {"id": number, "name": cells.CATEGORIES[kind]} for kind, number in _CATEGORIES.items()
        ],
        "images": images,
        "annotations": annotations,
    }
    write_json(folder / ANNOTATION_FILE, coco)
