"""The embedded dataset: the same everywhere, well formed, and out of reach of colour thresholds."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from detmake.data import cells

# So many images are enough to fit the few parameters of the baseline.
FITTING_IMAGES = 12

Sample = tuple[np.ndarray, dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("smears")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(cells.SUBSETS, "train", FITTING_IMAGES)
        for subset in cells.SUBSETS:
            cells.write_subset(root / subset, subset)
    return root


def load_annotations(folder: Path) -> dict:
    return json.loads((folder / "_annotations.coco.json").read_text())


def test_same_bytes_with_other_processor_instructions(root: Path, tmp_path: Path) -> None:
    # NumPy and OpenCV choose their code by the processor: without vector extensions they stand
    # for another machine. Names that a processor lacks are ignored.
    environment = {
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512_SKX AVX512_ICL AVX512_SPR AVX2 FMA3",
        "OPENCV_CPU_DISABLE": "SSE4.1,SSE4.2,AVX,FP16,AVX2,AVX512-SKX",
        "OPENCV_IPP": "disabled",
        "PYTHONPATH": str(Path(cells.__file__).parents[2]),
    }
    program = (
        "import sys; from pathlib import Path; from detmake.data.cells import write_subset; "
        "write_subset(Path(sys.argv[1]), 'valid')"
    )
    subprocess.run(
        [sys.executable, "-c", program, tmp_path],
        env=os.environ | environment,
        check=True,
        capture_output=True,
    )
    names = sorted(path.name for path in (root / "valid").iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for name in names:
        assert (tmp_path / name).read_bytes() == (root / "valid" / name).read_bytes(), name


def test_subsets_differ(root: Path) -> None:
    first = {(root / subset / "smear_000.png").read_bytes() for subset in cells.SUBSETS}
    assert len(first) == len(cells.SUBSETS)


@pytest.mark.parametrize("subset", ["valid", "test"])
def test_files_are_the_declared_ones(root: Path, subset: str) -> None:
    names = cells.image_names(subset)
    assert len(names) == len(set(names)) == cells.SUBSETS[subset]
    written = {path.name for path in (root / subset).iterdir()}
    assert written == {*names, "_annotations.coco.json"}
    for record in load_annotations(root / subset)["images"]:
        image = cv2.imread(str(root / subset / record["file_name"]))
        assert image.shape == (record["height"], record["width"], 3) == (240, 320, 3)


@pytest.mark.parametrize("subset", ["valid", "test"])
def test_annotations(root: Path, subset: str) -> None:
    document = load_annotations(root / subset)
    names = {category["id"]: category["name"] for category in document["categories"]}
    assert names == {0: "cells", 1: "Platelets", 2: "RBC", 3: "WBC"}

    annotations = document["annotations"]
    assert len(annotations) >= 1000
    assert len({annotation["id"] for annotation in annotations}) == len(annotations)
    image_ids = {image["id"] for image in document["images"]}
    assert {annotation["image_id"] for annotation in annotations} == image_ids

    counts = Counter(names[annotation["category_id"]] for annotation in annotations)
    assert set(counts) == {"Platelets", "RBC", "WBC"}
    assert 1 <= counts["WBC"] / len(image_ids) <= 2
    assert counts["RBC"] > counts["Platelets"] > counts["WBC"]

    x, y, width, height = np.array([annotation["bbox"] for annotation in annotations]).T
    assert min(x.min(), y.min()) >= 0
    assert (x + width).max() <= 320 + 1e-6
    assert (y + height).max() <= 240 + 1e-6
    assert min(width.min(), height.min()) >= 10
    areas = [annotation["area"] for annotation in annotations]
    np.testing.assert_allclose(areas, width * height)


@pytest.mark.parametrize("subset", ["valid", "test"])
def test_boxes_lie_on_what_is_drawn(root: Path, subset: str) -> None:
    document = load_annotations(root / subset)
    contrast = []
    for record in document["images"]:
        image = cv2.imread(str(root / subset / record["file_name"]))
        level = cv2.medianBlur(image, 3)[..., 1].astype(float)
        surroundings = np.median(level[level >= np.median(level)])
        for annotation in document["annotations"]:
            if annotation["image_id"] == record["id"]:
                x, y, width, height = (round(value) for value in annotation["bbox"])
                # Three quarters of the width: the ellipse that fills a box.
                inside = level[
                    y + height // 8 : y + height - height // 8,
                    x + width // 8 : x + width - width // 8,
                ]
                contrast.append(1 - inside.mean() / surroundings)
    assert np.quantile(contrast, 0.02) > 0.05


# --- The baseline: thresholds on colour, then connected components ---------------------------


@dataclass(frozen=True)
class Threshold:
    """Parameters of the baseline for one class."""

    channel: int
    low: int
    high: int
    # Diameter of the disc, in pixels, by which the mask is eroded so that cells that touch come
    # apart; the boxes are grown by it again.
    erosion: int
    # For a nucleus that is found in place of its cell.
    scale: float
    # Of the longer side, in pixels.
    size: tuple[float, float]


RANGES = [
    (low, high)
    for low in (0, 60, 100, 120, 140)
    for high in (60, 100, 120, 140, 160, 180)
    if low < high
]
EROSIONS = (1, 5, 9, 17, 25)
SCALES = (1.0, 1.5)


def channels_of(image: np.ndarray) -> np.ndarray:
    """Return blue, green, red, 255 - saturation and hue, uint8 (height, width, 5).

    The light of the empty background is divided out first, so that neither lamp nor white balance
    disturbs the thresholds.
    """
    background = cv2.dilate(cv2.medianBlur(image, 5), np.ones((61, 61)))
    background = cv2.blur(background, (61, 61)).astype(np.float32)
    even = np.clip(image / background * 200, 0, 255).astype(np.uint8)
    even = cv2.GaussianBlur(even, (0, 0), 0.8)
    hue, saturation, _ = cv2.split(cv2.cvtColor(even, cv2.COLOR_BGR2HSV))
    turned = (hue.astype(int) + 90) % 180  # Red is 90, no longer both ends of the circle.
    return np.dstack([even, 255 - saturation, turned.astype(np.uint8)])


def find_cells(channels: np.ndarray, threshold: Threshold) -> np.ndarray:
    """Return boxes, (n, 4) xywh in pixels."""
    height, width = channels.shape[:2]
    channel = np.ascontiguousarray(channels[..., threshold.channel])
    mask = cv2.inRange(channel, threshold.low, threshold.high)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    mask = cv2.drawContours(np.zeros_like(mask), contours, -1, 255, cv2.FILLED)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (threshold.erosion,) * 2)
    mask = cv2.erode(mask, disc, borderType=cv2.BORDER_CONSTANT, borderValue=255)
    boxes = cv2.connectedComponentsWithStats(mask)[2][1:, :4].astype(float)
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    sides = (boxes[:, 2:] + threshold.erosion - 1) * threshold.scale
    low = np.clip(centres - sides / 2, 0, (width, height))
    high = np.clip(centres + sides / 2, 0, (width, height))
    longest = (high - low).max(axis=1)
    keep = (longest >= threshold.size[0]) & (longest <= threshold.size[1])
    return np.hstack([low, high - low])[keep]


def count_matches(found: np.ndarray, true: np.ndarray) -> int:
    """Return the number of one-to-one pairs, the best first, of boxes with IoU >= 0.5."""
    low = np.maximum(found[:, None, :2], true[None, :, :2])
    high = np.minimum(
        (found[:, :2] + found[:, 2:])[:, None],
        (true[:, :2] + true[:, 2:])[None],
    )
    common = np.clip(high - low, 0, None).prod(axis=2)
    areas = found[:, 2:].prod(axis=1)[:, None] + true[:, 2:].prod(axis=1)[None]
    iou = common / (areas - common)
    matches = 0
    while iou.size and iou.max() >= 0.5:
        row, column = np.unravel_index(iou.argmax(), iou.shape)
        iou = np.delete(np.delete(iou, row, axis=0), column, axis=1)
        matches += 1
    return matches


def score(samples: list[Sample], thresholds: dict[str, Threshold]) -> float:
    """Return the F-measure over all boxes of the classes in `thresholds`."""
    matches = total = 0
    for channels, boxes in samples:
        for name, threshold in thresholds.items():
            found = find_cells(channels, threshold)
            matches += count_matches(found, boxes[name])
            total += len(found) + len(boxes[name])
    return 2 * matches / total


def fit(samples: list[Sample], name: str) -> Threshold:
    """Return the parameters of the best F-measure on the grid: all on few samples, the best on all.

    The limits of size are those of the true boxes, with some room.
    """
    longest = np.concatenate([boxes[name][:, 2:].max(axis=1) for _, boxes in samples])
    smallest, largest = np.quantile(longest, [0.02, 0.98])
    candidates = [
        Threshold(channel, low, high, erosion, scale, (0.85 * smallest, 1.15 * largest))
        for channel in range(5)
        for low, high in RANGES
        for erosion in EROSIONS
        if erosion < smallest
        for scale in SCALES
    ]
    for few, kept in ((1, 100), (4, 15)):
        candidates.sort(key=lambda candidate: -score(samples[:few], {name: candidate}))
        candidates = candidates[:kept]
    return max(candidates, key=lambda candidate: score(samples, {name: candidate}))


def load_samples(folder: Path) -> list[Sample]:
    document = load_annotations(folder)
    names = {category["id"]: category["name"] for category in document["categories"]}
    samples = []
    for record in document["images"]:
        boxes: dict[str, list] = {name: [] for name in ("Platelets", "RBC", "WBC")}
        for annotation in document["annotations"]:
            if annotation["image_id"] == record["id"]:
                boxes[names[annotation["category_id"]]].append(annotation["bbox"])
        image = cv2.imread(str(folder / record["file_name"]))
        arrays = {name: np.array(listed).reshape(-1, 4) for name, listed in boxes.items()}
        samples.append((channels_of(image), arrays))
    return samples


def discs(rng: np.random.Generator) -> Sample:
    """Return three kinds of discs, each of its own colour, that do not touch: the easy case."""
    image = np.full((240, 320, 3), 230, np.uint8)
    kinds = {
        "Platelets": (8, (190, 90, 150)),
        "RBC": (16, (150, 140, 210)),
        "WBC": (34, (120, 50, 60)),
    }
    cells = rng.permutation([(x, y) for x in range(40, 320, 80) for y in range(40, 240, 80)])
    boxes = {name: [] for name in kinds}
    for index, (x, y) in enumerate(cells):
        name = list(kinds)[index % len(kinds)]
        radius, colour = kinds[name]
        cv2.circle(image, (int(x), int(y)), radius, colour, cv2.FILLED, cv2.LINE_AA)
        boxes[name].append((x - radius, y - radius, 2 * radius, 2 * radius))
    return channels_of(image), {name: np.array(listed) for name, listed in boxes.items()}


def test_baseline_finds_separate_discs() -> None:
    rng = np.random.default_rng(0)
    samples = [discs(rng) for _ in range(2)]
    thresholds = {name: fit(samples[:1], name) for name in ("Platelets", "RBC", "WBC")}
    assert score(samples[1:], thresholds) > 0.9


@pytest.fixture(scope="module")
def fitted(root: Path) -> dict[str, Threshold]:
    samples = load_samples(root / "train")
    return {name: fit(samples, name) for name in ("Platelets", "RBC", "WBC")}


@pytest.mark.parametrize("subset", ["valid", "test"])
def test_colour_thresholds_do_not_solve_it(
    root: Path, fitted: dict[str, Threshold], subset: str
) -> None:
    # Well above nothing, so that the bound says something about the data.
    assert 0.25 < score(load_samples(root / subset), fitted) < 0.5
