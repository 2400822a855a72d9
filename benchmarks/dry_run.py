"""Seconds of `snakemake -n` of an up-to-date build: on 100 training images, and on 100,000.

The images are hard links of a few tiny ones. Both projects are built first, with finished random
weights instead of training; then their dry-runs take turns, with those of an empty Snakefile. Run
it from the repository's folder: python benchmarks/dry_run.py
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import yaml

ROOT = Path(__file__).parents[1]
SIZES = (100, 100_000)


def make_project(folder: Path, images: int) -> None:
    """Write a dataset with that many training images, weights, and a configuration with both.

    Args:
        folder: where they go; it must not exist.
        images: number of training images, hard links of ten files; val and test have ten images.
    """
    for subset, count in (("train", images), ("valid", 10), ("test", 10)):
        write_subset(folder / "data" / subset, count)
    write_weights(folder / "weights.pth")
    config = {
        "data": "data",
        "weights": "weights.pth",
        "input_size": [128, 96],
        "pot_parameters": {"stat_subset_size": 4, "maximal_accuracy_degradation": 100},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def write_subset(folder: Path, count: int) -> None:
    """Write a subset in Roboflow's layout: images of 16×16 pixels with one box each."""
    folder.mkdir(parents=True)
    noise = np.random.default_rng(list(folder.name.encode()))  # subsets differ
    coco = {"categories": [{"id": 1, "name": "square"}], "images": [], "annotations": []}
    for index in range(count):
        name = f"{index:06}.png"
        if index < 10:
            image = noise.integers(0, 256, (16, 16, 3), np.uint8)
            cv2.imwrite(str(folder / name), image)
        else:
            os.link(folder / f"{index % 10:06}.png", folder / name)
        coco["images"].append({"id": index, "file_name": name, "width": 16, "height": 16})
        box = {"id": index, "image_id": index, "category_id": 1, "bbox": [2, 2, 12, 12]}
        coco["annotations"].append(box)
    (folder / "_annotations.coco.json").write_text(json.dumps(coco), encoding="utf-8")


def write_weights(file: Path) -> None:
    """Write a checkpoint of the default template with random weights."""
    sys.path.insert(0, str(ROOT / "scripts"))
    import torch

    from detmake.model.network import build_detector, model_config

    template = yaml.safe_load((ROOT / "templates/atss_mobilenetv2.yaml").read_text())
    torch.manual_seed(0)
    detector = build_detector(model_config(template["model"], num_classes=1))
    torch.save({"state_dict": detector.state_dict()}, file)


def snakemake(folder: Path, *arguments: str) -> str:
    """Run Snakemake in a project, or in a folder with its own Snakefile; return what it prints."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    if not (folder / "Snakefile").exists():
        command += ["--snakefile", ROOT / "Snakefile", "--configfile", "config.yaml"]
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        sys.exit(f"{folder}: {done.stdout}")
    return done.stdout


def measure(projects: Sequence[Path], rounds: int, *targets: str) -> list[float]:
    """Return the median seconds of an up-to-date dry-run in each project; they take turns."""
    seconds: dict[Path, list[float]] = {project: [] for project in projects}
    for _, project in itertools.product(range(rounds), projects):
        started = time.perf_counter()
        output = snakemake(project, "--dry-run", *targets)
        seconds[project].append(time.perf_counter() - started)
        if "Nothing to be done" not in output:
            sys.exit(f"{project}: not up to date: {output}")
    return [statistics.median(seconds[project]) for project in projects]


def main() -> None:
    """Build both projects, measure their dry-runs, and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        projects = [Path(folder) / str(images) for images in SIZES]
        for project, images in zip(projects, SIZES, strict=True):
            make_project(project, images)
            started = time.perf_counter()
            snakemake(project)
            print(f"{images:7,} images: built in {time.perf_counter() - started:.0f} s")
        empty = Path(folder, "empty")
        empty.mkdir()
        (empty / "Snakefile").touch()
        *medians, of_empty = measure([*projects, empty], arguments.rounds)
    for images, seconds in zip(SIZES, medians, strict=True):
        ratio = seconds / of_empty
        print(f"{images:7,} images: dry-run in {seconds:.2f} s, {ratio:.2f} of an empty Snakefile")
    print(f"ratio           {medians[1] / medians[0]:.2f}")


if __name__ == "__main__":
    main()
