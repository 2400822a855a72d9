"""The embedded cells dataset: reproducible, valid, and too hard for colour alone."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from detmake.data import cells

IMAGES = 16  # of each subset

Sample = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("cells")
    with pytest.MonkeyPatch.context() as patch:
        for subset in cells.SUBSETS:
            patch.setitem(cells.SUBSETS, subset, IMAGES)
            cells.write_subset(root / subset, subset)
        yield root


def load_annotations(folder: Path) -> dict:
    return json.loads((folder / "_annotations.coco.json").read_text())


def test_another_processor_draws_the_same_bytes(root: Path, tmp_path: Path) -> None:
    # NumPy and OpenCV select code for the processor. Disabling vector extensions stands in for
    # another machine. Names that the processor lacks are ignored.
    environment = {
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512_SKX AVX512_ICL AVX512_SPR AVX2 FMA3",
        "OPENCV_CPU_DISABLE": "SSE4.1,SSE4.2,AVX,FP16,AVX2,AVX512-SKX",
        "OPENCV_IPP": "disabled",
        "PYTHONPATH": str(Path(cells.__file__).parents[2]),
    }
    program = (
        "import sys; from pathlib import Path; from detmake.data import cells; "
        f"cells.SUBSETS['valid'] = {IMAGES}; cells.write_subset(Path(sys.argv[1]), 'valid')"
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


def test_subsets_have_different_images(root: Path) -> None:
    first = {(root / subset / "cells_000.png").read_bytes() for subset in cells.SUBSETS}
    assert len(first) == len(cells.SUBSETS)


@pytest.mark.parametrize("subset", ["valid", "test"])
def test_the_folder_holds_the_images_that_the_annotations_list(root: Path, subset: str) -> None:
    names = [f"cells_{index:03d}.png" for index in range(cells.SUBSETS[subset])]
    written = {path.name for path in (root / subset).iterdir()}
    assert written == {*names, "_annotations.coco.json"}
    for record in load_annotations(root / subset)["images"]:
        image = cv2.imread(str(root / subset / record["file_name"]))
        assert image.shape == (record["height"], record["width"], 3) == (240, 320, 3)


@pytest.mark.parametrize("subset", ["valid", "test"])
def test_annotations_are_valid(root: Path, subset: str) -> None:
    document = load_annotations(root / subset)
    names = {category["id"]: category["name"] for category in document["categories"]}
    assert names == {0: "cells", 1: "Platelets", 2: "RBC", 3: "WBC"}

    annotations = document["annotations"]
    assert len(annotations) >= 21 * IMAGES
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
def test_boxes_enclose_the_drawn_cells(root: Path, subset: str) -> None:
    document = load_annotations(root / subset)
    contrast = []
    for record in document["images"]:
        image = cv2.imread(str(root / subset / record["file_name"]))
        level = cv2.medianBlur(image, 3)[..., 1].astype(float)
        surroundings = np.median(level[level >= np.median(level)])
        for annotation in document["annotations"]:
            if annotation["image_id"] == record["id"]:
                x, y, width, height = (round(value) for value in annotation["bbox"])
                # The middle three quarters of a box, where the ellipse that fills it lies.
                inside = level[
                    y + height // 8 : y + height - height // 8,
                    x + width // 8 : x + width - width // 8,
                ]
                contrast.append(1 - inside.mean() / surroundings)
    assert np.quantile(contrast, 0.02) > 0.05


# --- A baseline that knows colours only -----------------------------------------------------------

CLASSES = (cells.PLATELET, cells.RBC, cells.WBC)
EROSIONS = (1, 5, 9, 17, 25)  # diameters in pixels


def sample(image: np.ndarray, annotations: list[dict]) -> Sample:
    """Return each pixel's colour bin (0..4095, BGR), the boxes (n, 4) xywh and their classes (n,).

    The image is divided by the colour of its empty background first, so that colours do not depend
    on illumination and white balance.
    """
    background = cv2.dilate(cv2.medianBlur(image, 5), np.ones((61, 61)))
    background = cv2.blur(background, (61, 61)).astype(np.float32)
    even = np.clip(image / background * 200, 0, 255).astype(np.uint8)
    bins = (cv2.GaussianBlur(even, (0, 0), 0.8) // 16).astype(int) @ (1, 16, 256)
    boxes = np.array([annotation["bbox"] for annotation in annotations])
    return bins, boxes, np.array([annotation["category_id"] for annotation in annotations])


def load_samples(folder: Path) -> list[Sample]:
    document = load_annotations(folder)
    return [
        sample(
            cv2.imread(str(folder / record["file_name"])),
            [entry for entry in document["annotations"] if entry["image_id"] == record["id"]],
        )
        for record in document["images"]
    ]


def learn_colours(samples: list[Sample]) -> np.ndarray:
    """Return the likeliest class of each colour bin (0: background), all equally frequent."""
    counts = np.ones((4096, 4), int)
    for bins, boxes, classes in samples:
        truth = np.zeros(bins.shape, np.uint8)
        for category_id in (cells.RBC, cells.WBC, cells.PLATELET):  # the later ones lie on top
            for x, y, width, height in boxes[classes == category_id]:
                centre = (round(x + width / 2), round(y + height / 2))
                axes = (round(width / 2), round(height / 2))
                cv2.ellipse(truth, centre, axes, 0, 0, 360, category_id, cv2.FILLED)
        np.add.at(counts, (bins.ravel(), truth.ravel()), 1)
    return (counts / counts.sum(axis=0)).argmax(axis=1)


def find_cells(mask: np.ndarray, erosion: int) -> np.ndarray:
    """Return boxes (n, 4) xywh of blobs. Fill holes; separate touching blobs by erosion."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    mask = cv2.drawContours(np.zeros_like(mask), contours, -1, 255, cv2.FILLED)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (erosion, erosion))
    mask = cv2.erode(mask, disc, borderType=cv2.BORDER_CONSTANT, borderValue=255)
    boxes = cv2.connectedComponentsWithStats(mask)[2][1:, :4].astype(float)
    return boxes + np.array([-1, -1, 2, 2]) * (erosion // 2)


def count_matches(found: np.ndarray, true: np.ndarray) -> int:
    """Return how many boxes match one-to-one at IoU >= 0.5, the best pairs first."""
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


def score(fitting: list[Sample], samples: list[Sample]) -> float:
    """Return the F-measure on `samples` of the baseline that learns from `fitting`."""
    class_of_colour = learn_colours(fitting)

    def count(samples: list[Sample], category_id: int, erosion: int) -> tuple[int, int]:
        longest = [boxes[classes == category_id, 2:].max(axis=1) for _, boxes, classes in fitting]
        smallest, largest = np.quantile(np.concatenate(longest), [0.02, 0.98]) * (0.85, 1.15)
        matches = total = 0
        for bins, boxes, classes in samples:
            found = find_cells((class_of_colour[bins] == category_id).astype(np.uint8), erosion)
            sides = found[:, 2:].max(axis=1)
            found = found[(sides >= smallest) & (sides <= largest)]
            true = boxes[classes == category_id]
            matches += count_matches(found, true)
            total += len(found) + len(true)
        return matches, total

    def f_measure(category_id: int, erosion: int) -> float:
        matches, total = count(fitting, category_id, erosion)
        return 2 * matches / total

    counts = []
    for category_id in CLASSES:
        erosion = max(EROSIONS, key=lambda erosion, k=category_id: f_measure(k, erosion))
        counts.append(count(samples, category_id, erosion))
    matches, total = np.sum(counts, axis=0)
    return 2 * matches / total


def discs(rng: np.random.Generator) -> Sample:
    """Return an easy case: discs of three classes, each of its own colour, that do not touch."""
    image = np.full((240, 320, 3), 230, np.uint8)
    kinds = {
        cells.PLATELET: (8, (190, 90, 150)),
        cells.RBC: (16, (150, 140, 210)),
        cells.WBC: (34, (120, 50, 60)),
    }
    centres = rng.permutation([(x, y) for x in range(40, 320, 80) for y in range(40, 240, 80)])
    annotations = []
    for index, (x, y) in enumerate(centres):
        category_id = CLASSES[index % len(CLASSES)]
        radius, colour = kinds[category_id]
        cv2.circle(image, (int(x), int(y)), radius, colour, cv2.FILLED, cv2.LINE_AA)
        box = (x - radius, y - radius, 2 * radius, 2 * radius)
        annotations.append({"bbox": box, "category_id": category_id})
    return sample(image, annotations)


def test_colours_alone_find_separate_discs() -> None:
    rng = np.random.default_rng(0)
    assert score([discs(rng)], [discs(rng)]) > 0.9


@pytest.mark.parametrize("subset", ["valid", "test"])
def test_colours_alone_do_not_find_the_cells(root: Path, subset: str) -> None:
    # The lower bound shows that the baseline does find some cells.
    assert 0.25 < score(load_samples(root / "train"), load_samples(root / subset)) < 0.5
