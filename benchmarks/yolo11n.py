"""Accuracy and latency of detmake's int8 model, and of YOLO11n's, after the same minutes.

Both train from scratch on a dataset in YOLO format, at the same square input size. For YOLO11n, the
minutes are those of the training alone; for detmake, those that `snakemake suggest` plans for the
whole build. Both models are measured with pycocotools on the test subset. Their latency is that of
their own Python API, one image at a time, in turns, each turn in a new process.

Ultralytics is licensed under the AGPL and no part of detmake: this script installs it into an
environment of its own. Run it from the repository's folder:
python benchmarks/yolo11n.py [--data path/to/data.yaml]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
SIDES = ("YOLO11n", "detmake")
#: Detections below it do not count; the lowest that detmake's models give.
LEAST_CONFIDENCE = 0.02
sys.path.insert(0, str(ROOT / "scripts"))


def export_cells(folder: Path) -> Path:
    """Draw the embedded cells dataset in YOLO format, and return its `data.yaml`."""
    from detmake.data import cells

    for subset in cells.SUBSETS:
        images = folder / "images" / subset
        cells.write_subset(images, subset)
        coco = json.loads((images / "_annotations.coco.json").read_text(encoding="utf-8"))
        rows = [category["id"] for category in coco["categories"]]
        (folder / "labels" / subset).mkdir(parents=True)
        for image in coco["images"]:
            lines = []
            for entry in (one for one in coco["annotations"] if one["image_id"] == image["id"]):
                x, y, width, height = entry["bbox"]
                values = [x + width / 2, y + height / 2, width, height]
                sizes = [image["width"], image["height"]] * 2
                shares = [f"{value / size:.7f}" for value, size in zip(values, sizes, strict=True)]
                lines.append(" ".join([str(rows.index(entry["category_id"])), *shares]))
            file = folder / "labels" / subset / Path(image["file_name"]).with_suffix(".txt")
            file.write_text("\n".join(lines))
    description = {
        "path": str(folder),
        **{{"valid": "val"}.get(subset, subset): f"images/{subset}" for subset in cells.SUBSETS},
        "names": [category["name"] for category in coco["categories"]],
    }
    (folder / "data.yaml").write_text(yaml.safe_dump(description))
    return folder / "data.yaml"


def make_environment(folder: Path) -> Path:
    """Install Ultralytics with the versions that detmake has, and return its Python."""
    python = folder / "bin/python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    packages = ["ultralytics", "openvino", "nncf", "torch", "torchvision"]
    command = [python, "-m", "pip", "install", "-q", "-c", ROOT / "requirements.txt", *packages]
    subprocess.run(command, check=True)
    return python


def build_yolo11n(folder: Path, data: Path, size: int, minutes: float, seed: int) -> None:
    """Train and export with Ultralytics' defaults, but all cores; runs in its environment."""
    from ultralytics import YOLO
    from ultralytics.utils import torch_utils

    torch_utils.NUM_THREADS = os.cpu_count()  # its default leaves one core idle

    shared = {"data": str(data), "imgsz": size}
    model = YOLO("yolo11n.yaml")
    hours = minutes / 60
    model.train(**shared, time=hours, seed=seed, device="cpu", project=str(folder), name="train")
    YOLO(folder / "train/weights/best.pt").export(**shared, format="openvino", int8=True)


def build_detmake(folder: Path, data: Path, size: int, minutes: float, seed: int) -> None:
    """Suggest an experiment and build it, as a user would."""
    snakemake = [sys.executable, "-m", "snakemake"]
    wish = [f"data={data}", f"minutes={minutes:g}", f"input_size=[{size}, {size}]"]
    suggest = ["--snakefile", ROOT / "Snakefile", "--cores", "all", "suggest"]
    folder.mkdir()
    subprocess.run([*snakemake, *suggest, "--config", *wish], cwd=folder, check=True)
    seeded = ["--config", f"learning_parameters={{seed: {seed}}}"]
    subprocess.run([*snakemake, *seeded], cwd=folder, check=True)


def load(side: str, folder: Path, size: int):
    """Return a function from an image to boxes (xyxy, pixels), scores and labels."""
    if side == "detmake":
        from detmake.runtime.inference import OpenvinoDetector

        threads = len(os.sched_getaffinity(0))
        detector = OpenvinoDetector(folder / "results/pot", threads, "LATENCY")

        def detect(image):
            found = detector(image)
            return found.boxes, found.scores, found.labels

    else:
        from ultralytics import YOLO

        (exported,) = (folder / "train/weights").glob("*_int8_openvino_model")
        model = YOLO(exported, task="detect")
        options = {"imgsz": size, "conf": LEAST_CONFIDENCE, "device": "cpu", "verbose": False}

        def detect(image):
            (found,) = model.predict(image, **options)
            boxes = found.boxes
            return boxes.xyxy.numpy(), boxes.conf.numpy(), boxes.cls.numpy()

    return detect


def run(side: str, folder: Path, size: int, subset: Path) -> dict:
    """Detect in each image of a prepared subset; return COCO results and the median ms."""
    import cv2

    detect, results, seconds = load(side, folder, size), [], []
    coco = json.loads(subset.read_text(encoding="utf-8"))
    categories = [category["id"] for category in coco["categories"]]
    for turn in range(3):  # the first warms up
        for entry in coco["images"]:
            image = cv2.imread(str(Path(coco["info"]["image_root"]) / entry["file_name"]))
            started = time.perf_counter()
            boxes, scores, labels = detect(image)
            seconds.append(time.perf_counter() - started)
            results += [
                {
                    "image_id": entry["id"],
                    "category_id": categories[int(label)],
                    "bbox": [*map(float, box[:2]), *map(float, box[2:] - box[:2])],
                    "score": float(score),
                }
                for box, score, label in zip(boxes, scores, labels, strict=True)
                if turn == 0
            ]
    return {"results": results, "ms": 1000 * statistics.median(seconds[len(coco["images"]) :])}


def average_precision(subset: Path, results: list[dict]) -> float:
    """Return the mAP at IoU 0.5 of COCO results, by pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO(subset)
    evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats[1]


def main() -> None:
    """Build both models, measure them in turns and print figures and ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a data.yaml; without it, the embedded cells")
    parser.add_argument("--size", type=int, default=320, help="width and height of the input")
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--environment", type=Path, help="kept for the next call; default: none")
    for hidden in ("build", "run", "folder", "subset"):
        parser.add_argument(f"--{hidden}", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if side := arguments.build:
        build = build_detmake if side == "detmake" else build_yolo11n
        wishes = arguments.size, arguments.minutes, arguments.seed
        build(Path(arguments.folder), arguments.data, *wishes)
        return
    if side := arguments.run:
        folder, subset = Path(arguments.folder), Path(arguments.subset)
        print(json.dumps(run(side, folder, arguments.size, subset)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        data = (arguments.data or export_cells(scratch / "data")).resolve()
        python = make_environment(arguments.environment or scratch / "environment")
        pythons = dict(zip(SIDES, (python, sys.executable), strict=True))
        options = [f"--{key}={getattr(arguments, key)}" for key in ("size", "minutes", "seed")]
        folders = {side: ["--folder", scratch / side] for side in SIDES}
        for side in SIDES:
            command = [pythons[side], __file__, *options, "--data", data, "--build", side]
            subprocess.run([*command, *folders[side]], check=True)
        subset = scratch / "detmake/results/dataset/test.json"
        found: dict[str, list[dict]] = {side: [] for side in SIDES}
        for _ in range(arguments.rounds):
            for side in SIDES:
                command = [pythons[side], __file__, *options, "--subset", subset, "--run", side]
                output = subprocess.run(
                    [*command, *folders[side]], check=True, stdout=subprocess.PIPE, text=True
                ).stdout
                found[side].append(json.loads(output.splitlines()[-1]))
        accuracies = {
            side: average_precision(subset, rounds[0]["results"]) for side, rounds in found.items()
        }
    for side, rounds in found.items():
        ms = statistics.median(one["ms"] for one in rounds)
        print(f"{side:8} int8: mAP at IoU 0.5 {accuracies[side]:.3f}, {ms:.1f} ms an image")
    theirs, ours = found.values()
    ratios = [mine["ms"] / other["ms"] for other, mine in zip(theirs, ours, strict=True)]
    print(f"ratio of the latencies: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
