"""Draw the embedded cells dataset: images of blood cells with boxes, laid out as a COCO export.

Shape and size separate the classes well, but colour alone does not: red cells touch and overlap,
debris has the colours of cells, and stain, illumination and white balance vary between images. A
fixed seed per subset and image makes the result reproducible.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from tqdm import tqdm

from detmake.artifacts import write_json
from detmake.data.sources import ANNOTATION_FILE

#: Number of images of each subset.
SUBSETS: dict[str, int] = {"train": 160, "valid": 48, "test": 48}

WIDTH, HEIGHT = 320, 240
# Category 0 is the supercategory of a Roboflow export; it has no boxes.
CATEGORIES = ("cells", "Platelets", "RBC", "WBC")
PLATELET, RBC, WBC = 1, 2, 3

_SEED = 20210
_SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class _Cell:
    """A cell in an image: outline, float (n, 2) xy, centre xy and radius, all in pixels."""

    category_id: int
    outline: np.ndarray
    centre: np.ndarray
    radius: float


@dataclass(frozen=True)
class _Stain:
    """Colours of one image: the fraction of light (BGR) that passes each kind of material."""

    plasma: np.ndarray
    red_cell: np.ndarray
    nucleus: np.ndarray
    platelet: np.ndarray
    cytoplasm: np.ndarray
    granule: np.ndarray


def write_subset(folder: Path, subset: str) -> None:
    """Write the images of one subset to `folder`, then their annotations.

    Args:
        folder: created if missing; receives `cells_000.png` and so on, 320x240 pixels, and
            `_annotations.coco.json` with boxes as xywh in pixels, clipped to the image.
        subset: a key of `SUBSETS`.

    Raises:
        KeyError: `subset` is not a key of `SUBSETS`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    indices = range(SUBSETS[subset])
    for index in tqdm(indices, f"Drawing {subset}", unit="image", mininterval=2):
        name = f"cells_{index:03d}.png"
        rng = np.random.default_rng([_SEED, list(SUBSETS).index(subset), index])
        image, cells = draw_image(rng)
        (folder / name).write_bytes(cv2.imencode(".png", image)[1].tobytes())
        images.append({"id": index, "file_name": name, "width": WIDTH, "height": HEIGHT})
        for cell in cells:
            x, y, width, height = visible_box(cell.outline)
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": index,
                    "category_id": cell.category_id,
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
    categories = [
        {"id": category_id, "name": name, "supercategory": "cells" if category_id else "none"}
        for category_id, name in enumerate(CATEGORIES)
    ]
    coco = {
        "info": {"description": f"Drawn images of blood cells, subset {subset}"},
        "licenses": [],
        "categories": categories,
        "images": images,
        "annotations": annotations,
    }
    write_json(folder / ANNOTATION_FILE, coco)


def visible_box(outline: np.ndarray) -> list[float]:
    """Return the box of an outline, clipped to the image, as xywh in pixels, rounded to tenths."""
    # Whole coordinates are the centre of a pixel for drawing, but its corner in boxes.
    low = np.clip(outline.min(0) + 0.5, 0, (WIDTH, HEIGHT)).round(1)
    high = np.clip(outline.max(0) + 0.5, 0, (WIDTH, HEIGHT)).round(1)
    return [round(float(value), 1) for value in (*low, *(high - low))]


# --- Placing the cells -----------------------------------------------------------------------


def _outline(
    rng: Generator, centre: np.ndarray, radius: float, stretch: float, roughness: float
) -> np.ndarray:
    """Return an ellipse with axes in the ratio `stretch` and low harmonics of size `roughness`."""
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    distance = np.ones_like(angle)
    for order in range(2, 6):
        amplitude = roughness * rng.normal() / order
        distance += amplitude * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    axes = radius * np.array([stretch**0.5, stretch**-0.5])
    points = distance[:, None] * axes * np.stack([np.cos(angle), np.sin(angle)], 1)
    tilt = rng.uniform(0, np.pi)
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    return centre + points @ turn.T


# Minimum distance of two centres as a fraction of the sum of their radii. Red cells are translucent
# and may overlap most; the IoU of neighbouring boxes still stays near 0.2.
_CLOSEST = {
    (RBC, RBC): 0.64,
    (RBC, WBC): 0.90,
    (WBC, WBC): 0.97,
    (PLATELET, PLATELET): 1.05,
    (PLATELET, WBC): 1.00,
}


def _fits(cell: _Cell, cells: list[_Cell], platelets_on_red: bool) -> bool:
    """Tell whether a cell is far enough from the others and sufficiently visible."""
    extent = np.ptp(cell.outline, 0)
    visible = np.array(visible_box(cell.outline)[2:]) / extent
    if visible.prod() < {PLATELET: 0.95, RBC: 0.5, WBC: 0.6}[cell.category_id]:
        return False
    for other in cells:
        pair = tuple(sorted((cell.category_id, other.category_id)))
        closest = _CLOSEST.get(pair, 0.6 if platelets_on_red else 1.0)
        apart = cell.centre - other.centre
        if apart @ apart < (closest * (cell.radius + other.radius)) ** 2:
            return False
    return True


def _place_cells(rng: Generator) -> list[_Cell]:
    """Return the cells of one image; most red cells form clumps around earlier cells."""
    red_radius = rng.uniform(15.0, 18.0)
    counts = {
        WBC: rng.choice([0, 1, 2, 3], p=[0.08, 0.5, 0.34, 0.08]),
        RBC: rng.integers(22, 34),
        PLATELET: rng.integers(3, 8),
    }
    cells: list[_Cell] = []
    for category_id, count in counts.items():
        for _ in range(count):
            for _attempt in range(25):
                if category_id == WBC:
                    radius, stretch, roughness = rng.uniform(29, 40), rng.uniform(1, 1.2), 0.04
                elif category_id == RBC:
                    radius = red_radius * rng.uniform(0.8, 1.18)
                    stretch, roughness = rng.uniform(1, 1.35), 0.05
                else:
                    radius, stretch, roughness = rng.uniform(6.5, 9), rng.uniform(1, 1.35), 0.1
                centre = rng.uniform((0, 0), (WIDTH, HEIGHT))
                clumps = [cell for cell in cells if cell.category_id != PLATELET]
                if clumps and rng.random() < {WBC: 0.0, RBC: 0.95, PLATELET: 0.6}[category_id]:
                    neighbour = clumps[rng.integers(len(clumps))]
                    angle = rng.uniform(0, 2 * np.pi)
                    distance = (radius + neighbour.radius) * rng.uniform(0.64, 0.88)
                    centre = neighbour.centre + distance * np.array([np.cos(angle), np.sin(angle)])
                outline = _outline(rng, centre, radius, stretch, roughness)
                cell = _Cell(category_id, outline, centre, radius)
                if _fits(cell, cells, platelets_on_red=rng.random() < 0.7):
                    cells.append(cell)
                    break
    return _without_hidden(cells)


def _without_hidden(cells: list[_Cell]) -> list[_Cell]:
    """Remove red cells that share over 60 % of their area with others, the worst first."""
    cells = list(cells)
    bodies = []
    for cell in cells:
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        bodies.append(cv2.fillPoly(mask, [np.rint(cell.outline).astype(np.int32)], 1) > 0)
    while True:
        layers = sum(body.astype(np.uint8) for body in bodies)
        shares = [
            (layers[body] > 1).mean() if cell.category_id == RBC else 0.0
            for cell, body in zip(cells, bodies, strict=True)
        ]
        worst = int(np.argmax(shares))
        if shares[worst] <= 0.6:
            return cells
        del cells[worst], bodies[worst]


# --- Drawing them ----------------------------------------------------------------------------


def draw_image(rng: Generator) -> tuple[np.ndarray, list[_Cell]]:
    """Return one image, uint8 (240, 320, 3) BGR, and the cells in it."""
    cells = _place_cells(rng)
    stain = _random_stain(rng)
    light = np.ones((HEIGHT, WIDTH, 3), np.float32)
    _draw_plasma(rng, light, stain)
    _draw_red_cells(rng, light, [cell for cell in cells if cell.category_id == RBC], stain)
    for cell in cells:
        if cell.category_id == WBC:
            _draw_white_cell(rng, light, cell, stain)
        elif cell.category_id == PLATELET:
            _draw_platelet(rng, light, cell, stain)
    _draw_debris(rng, light, stain)
    return _expose(rng, light), cells


def _random_stain(rng: Generator) -> _Stain:
    """Return the colours of one image; strength and tint of the stain vary."""
    tint = rng.uniform(-0.05, 0.05, 3)
    eosin, azure = rng.uniform((0.7, 0.75), (1.6, 1.3))

    def material(bgr: tuple[float, float, float], strength: float) -> np.ndarray:
        return np.clip((np.array(bgr) + tint) ** strength, 0.08, 0.98).astype(np.float32)

    greyness = rng.uniform(0, 1)
    red_cell = (0.62 + 0.10 * greyness, 0.60 + 0.06 * greyness, 0.84 - 0.10 * greyness)
    return _Stain(
        plasma=material((0.86, 0.80, 0.88), eosin),
        red_cell=material(red_cell, eosin),
        nucleus=material((0.62, 0.34, 0.46), azure),
        platelet=material((0.72, 0.54, 0.66), azure),
        cytoplasm=material((0.88, 0.74, 0.80), azure),
        granule=material((0.60, 0.52, 0.82), eosin),
    )


def _mask(outline: np.ndarray, softness: float) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Return a filled outline, float32 in 0..1, blurred by `softness` pixels, and its window."""
    pad = int(3 * softness) + 2
    low = np.floor(outline.min(0)).astype(int) - pad
    high = np.ceil(outline.max(0)).astype(int) + pad + 1
    mask = np.zeros((high - low)[::-1], np.uint8)
    points = np.rint((outline - low) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(mask, [points], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    # For uint8, OpenCV's result does not depend on the processor.
    mask = cv2.GaussianBlur(mask, (0, 0), softness, hint=cv2.ALGO_HINT_ACCURATE)
    start, stop = np.clip((low, high), 0, (WIDTH, HEIGHT))
    inside = mask[start[1] - low[1] : stop[1] - low[1], start[0] - low[0] : stop[0] - low[0]]
    window = slice(start[1], stop[1]), slice(start[0], stop[0])
    return inside[..., None] * np.float32(1 / 255), window


def _absorb(light: np.ndarray, outline: np.ndarray, colour: np.ndarray, softness: float) -> None:
    """Add translucent material: overlaps get darker."""
    mask, window = _mask(outline, softness)
    light[window] *= 1 - mask * (1 - colour)


def _cover(
    light: np.ndarray, outline: np.ndarray, colour: np.ndarray, softness: float, opacity: float
) -> None:
    """Add material that hides what is below by the fraction `opacity`."""
    mask, window = _mask(outline, softness)
    light[window] += opacity * mask * (colour - light[window])


def _scaled(cell: _Cell, factor: float) -> np.ndarray:
    return cell.centre + (cell.outline - cell.centre) * factor


def _thinned(colour: np.ndarray, amount: float) -> np.ndarray:
    """Return the colour with `amount` of its absorption: 0 is clear, 1 the colour itself."""
    return 1 - amount * (1 - colour)


def _draw_plasma(rng: Generator, light: np.ndarray, stain: _Stain) -> None:
    """Draw faint stained patches between the cells."""
    patches = rng.integers(0, 256, (6, 8), np.uint8)
    patches = cv2.resize(patches, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR_EXACT)
    amount = patches[..., None] * np.float32(rng.uniform(0.3, 1.0) / 255)
    light *= 1 - amount * (1 - stain.plasma)


def _draw_red_cells(rng: Generator, light: np.ndarray, cells: list[_Cell], stain: _Stain) -> None:
    """Draw discs with a pale centre; the darkness of overlaps varies between images."""
    translucency = rng.uniform(0.1, 0.55)
    thickness = np.zeros((HEIGHT, WIDTH, 1), np.float32)
    for cell in cells:
        shift = rng.uniform(-0.12, 0.12, 2) * cell.radius
        centre = _scaled(cell, rng.uniform(0.38, 0.6)) + shift
        disc = np.zeros_like(thickness)
        mask, window = _mask(cell.outline, 0.6)
        disc[window] = rng.uniform(0.6, 1.15) * mask
        mask, inside = _mask(_scaled(cell, 0.88), 1.0)
        disc[inside] *= 1 - rng.uniform(0.05, 0.25) * mask
        mask, inside = _mask(centre, cell.radius / 7)
        disc[inside] *= 1 - rng.uniform(0.0, 0.7) * mask
        below, above = thickness[window], disc[window]
        thickness[window] = np.maximum(below, above) + translucency * np.minimum(below, above)
    light *= 1 - thickness * (1 - stain.red_cell)


def _draw_platelet(rng: Generator, light: np.ndarray, cell: _Cell, stain: _Stain) -> None:
    amount = rng.uniform(0.7, 1.1)
    _absorb(light, cell.outline, _thinned(stain.platelet, 0.65 * amount), 0.7)
    _absorb(light, _scaled(cell, 0.6), _thinned(stain.platelet, 0.5 * amount), 1.2)
    for _ in range(rng.integers(3, 7)):
        spot = cell.centre + rng.uniform(-0.5, 0.5, 2) * cell.radius
        granule = _outline(rng, spot, rng.uniform(0.8, 1.6), 1, 0)
        _absorb(light, granule, _thinned(stain.nucleus, 0.5), 0.5)


def _draw_white_cell(rng: Generator, light: np.ndarray, cell: _Cell, stain: _Stain) -> None:
    kinds = {"neutrophil": 40, "eosinophil": 110, "monocyte": 15, "lymphocyte": 0}  # grains of each
    kind = rng.choice(list(kinds), p=[0.4, 0.2, 0.2, 0.2])
    cytoplasm = stain.cytoplasm
    if kind == "eosinophil":
        cytoplasm = (stain.cytoplasm + stain.granule) / 2
    _cover(light, cell.outline, _thinned(cytoplasm, rng.uniform(0.8, 1.2)), 0.8, 0.9)
    _cover(light, _scaled(cell, 0.9), _thinned(cytoplasm, rng.uniform(0.7, 1.0)), 1.5, 0.8)

    for _ in range(kinds[kind]):
        angle, distance = rng.uniform(0, 2 * np.pi), 0.85 * cell.radius * rng.random() ** 0.5
        spot = cell.centre + distance * np.array([np.cos(angle), np.sin(angle)])
        grain = _outline(rng, spot, rng.uniform(0.8, 1.8), 1, 0)
        _absorb(light, grain, _thinned(stain.granule, rng.uniform(0.2, 0.6)), 0.5)

    nucleus = _thinned(stain.nucleus, rng.uniform(0.85, 1.05))
    for lobe in _nucleus_lobes(rng, cell, kind):
        _cover(light, lobe, nucleus * np.float32(rng.uniform(0.92, 1.08)), 1.0, 0.92)
        for _ in range(6):
            spot = lobe[rng.integers(len(lobe))] * 0.5 + lobe.mean(0) * 0.5
            chromatin = _outline(rng, spot, rng.uniform(1.5, 3.5), 1.5, 0.1)
            _absorb(light, chromatin, _thinned(stain.nucleus, rng.uniform(0.1, 0.4)), 1.2)


def _nucleus_lobes(rng: Generator, cell: _Cell, kind: str) -> list[np.ndarray]:
    """Return the outlines that make up the nucleus of a white cell of the given kind."""
    start = rng.uniform(0, 2 * np.pi)
    if kind == "lymphocyte":
        shift = 0.12 * cell.radius * np.array([np.cos(start), np.sin(start)])
        return [_outline(rng, cell.centre + shift, 0.66 * cell.radius, 1.1, 0.05)]
    count, arc, size, ring = {
        "neutrophil": (int(rng.integers(3, 6)), 1.3 * np.pi, 0.24, 0.42),
        "eosinophil": (2, 0.9 * np.pi, 0.33, 0.38),
        "monocyte": (6, 0.9 * np.pi, 0.30, 0.32),
    }[kind]
    lobes = []
    for angle in start + np.linspace(0, arc, count):
        spot = cell.centre + ring * cell.radius * np.array([np.cos(angle), np.sin(angle)])
        radius = size * cell.radius * rng.uniform(0.85, 1.15)
        lobes.append(_outline(rng, spot, radius, rng.uniform(1, 1.4), 0.08))
    return lobes


def _draw_debris(rng: Generator, light: np.ndarray, stain: _Stain) -> None:
    """Draw smudges of stain, fibres and dark specks, which are not cells."""
    for _ in range(rng.integers(0, 3)):
        centre = rng.uniform((0, 0), (WIDTH, HEIGHT))
        smudge = _outline(rng, centre, rng.uniform(12, 28), rng.uniform(1, 2), 0.2)
        _absorb(light, smudge, _thinned(stain.platelet, rng.uniform(0.15, 0.4)), 7)
    for _ in range(rng.integers(0, 3)):
        start = rng.uniform((0, 0), (WIDTH, HEIGHT))
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.25, 9))
        path = start + np.cumsum(5 * np.stack([np.cos(heading), np.sin(heading)], 1), 0)
        fibre = np.concatenate([path, path[::-1] + rng.uniform(0.8, 1.6)])
        _absorb(light, fibre, _thinned(stain.nucleus, rng.uniform(0.4, 0.8)), 0.6)
    for _ in range(rng.integers(2, 9)):
        centre = rng.uniform((0, 0), (WIDTH, HEIGHT))
        speck = _outline(rng, centre, rng.uniform(1.0, 2.4), rng.uniform(1, 2), 0.2)
        _absorb(light, speck, stain.nucleus, 0.5)


def _expose(rng: Generator, light: np.ndarray) -> np.ndarray:
    """Return the photographed image, uint8: adds lamp, white balance, focus and sensor noise."""
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    slope, bend = rng.uniform(-0.14, 0.14, 2), rng.uniform(0.0, 0.14)
    shift = rng.uniform(-0.4, 0.4, 2)
    lamp = 1 + slope[0] * x + slope[1] * y - bend * ((x - shift[0]) ** 2 + (y - shift[1]) ** 2)
    white = rng.uniform(195, 240) * (1 + rng.uniform(-0.08, 0.08, 3))
    photo = np.rint(np.clip(light * lamp[..., None] * white, 0, 255)).astype(np.uint8)
    photo = cv2.GaussianBlur(photo, (0, 0), rng.uniform(0.4, 1.0), hint=cv2.ALGO_HINT_ACCURATE)
    noise = rng.uniform(1.5, 4.5) * rng.standard_normal(photo.shape)
    return np.rint(np.clip(photo + noise, 0, 255)).astype(np.uint8)
