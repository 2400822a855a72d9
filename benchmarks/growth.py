"""Time and memory of the steps before training, for 10,000 images and for 100,000, 10 boxes each.

Snakemake splits and prepares one COCO file of tiny images, and describes it. What near-duplicates
cost is shown apart. Run it from the repository's folder: python benchmarks/growth.py
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import yaml

ROOT = Path(__file__).parents[1]
SIZES = (10_000, 100_000)
BOXES = 10
WIDTH, HEIGHT = 64, 48
PREPARED = [f"results/dataset/{subset}.json" for subset in ("train", "val", "test")]
STEPS = {"split and prepare": PREPARED, "inspect": ["results/dataset/statistics.md"]}


def make_project(folder: Path, images: int) -> None:
    """Write different images of 64×48 pixels, one annotation file and a configuration."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    coco = {"categories": [{"id": k, "name": f"class {k}"} for k in range(4)]}
    coco |= {"images": [], "annotations": []}
    for index in range(images):
        name = f"{index:06}.png"
        small = rng.integers(0, 256, (9, 12, 3), np.uint8)
        cv2.imwrite(str(folder / "images" / name), cv2.resize(small, (WIDTH, HEIGHT)))
        coco["images"].append({"id": index, "file_name": name, "width": WIDTH, "height": HEIGHT})
        corners = rng.integers(0, (WIDTH - 16, HEIGHT - 16), (BOXES, 2)).tolist()
        for number, corner in enumerate(corners):
            box = {"id": index * BOXES + number, "image_id": index, "category_id": number % 4}
            coco["annotations"].append(box | {"bbox": [*corner, 12, 14]})
    (folder / "all.json").write_text(json.dumps(coco), encoding="utf-8")
    config = {"data": {"source": "all.json", "split": "auto"}, "pretrained": None}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def seconds(action: Callable[[], object]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def build(folder: Path, targets: list[str]) -> None:
    """Run Snakemake in a project, one job at a time."""
    options = ["--snakefile", ROOT / "Snakefile", "--configfile", "config.yaml", "--cores", "1"]
    command = [sys.executable, "-m", "snakemake", *targets, *options]
    subprocess.run(
        [*command, "--workflow-profile", ROOT / "profiles/default", "--quiet", "all"],
        cwd=folder,
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": ""},
    )


def clusters(images: int) -> float:
    """Return the seconds of finding near-duplicates among random hashes."""
    from detmake.data import near_duplicates

    rng = np.random.default_rng(0)
    hashes = [rng.bytes(16).hex() for _ in range(images)]
    return seconds(lambda: near_duplicates.clusters(hashes))


def hashing(width: int = 640, height: int = 480, rounds: int = 200) -> float:
    """Return the seconds of hashing a decoded image."""
    from detmake.data import near_duplicates

    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return seconds(lambda: [near_duplicates.dhash(image) for _ in range(rounds)]) / rounds


def main() -> None:
    """Measure both sizes and print the seconds of a thousand images, memory and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs=2, default=SIZES, metavar="COUNT")
    sizes = parser.parse_args().images
    sys.path.insert(0, str(ROOT / "scripts"))
    rows: dict[str, list[float]] = {}
    for images in sizes:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "project")
            make_project(folder, images)
            for step, targets in STEPS.items():
                took = seconds(lambda folder=folder, targets=targets: build(folder, targets))
                rows.setdefault(step, []).append(took)
        rows.setdefault("of it: clusters of hashes", []).append(clusters(images))
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        print(f"{images} images, {BOXES * images} boxes: at most {peak:.2f} GiB in a process")
    for step, (few, many) in rows.items():
        each = [1000 * took / images for took, images in zip((few, many), sizes, strict=True)]
        print(f"{step:26} {each[0]:6.2f} {each[1]:6.2f} s a thousand images", end="")
        print(f"   ratio {each[1] / each[0]:.2f}")
    print(f"hashing an image of 640×480: {1000 * hashing():.2f} ms")


if __name__ == "__main__":
    main()
