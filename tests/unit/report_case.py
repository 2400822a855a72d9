"""A run of results with invented detections, for tests of the report."""

import json
from pathlib import Path

import cv2
import numpy as np

from detmake.artifacts import sha256
from detmake.data import statistics
from detmake.detections import Detections
from detmake.evaluation import predictions
from detmake.evaluation.metrics import Evaluation
from detmake.evaluation.performance import figures
from detmake.runtime import drawing
from detmake.runtime.figures import subject

ASSETS = Path(__file__).parents[2] / "scripts/reported"
HOSTILE = ["<script>alert(1)</script>", "$x_{\\frac$ & 'quoted\" {{ 7 * 7 }}", "_白血球"]
POSTPROCESSING = {"confidence_threshold": 0.4, "result_based_confidence_threshold": False}
PROVENANCE = {
    "command": "snakemake results/report.html",
    "changed": ['template: "<b>mine</b>"'],
    "settings": ["seed: 0"],
    "steps": [
        {
            "name": "train",
            "files": ["results/weights.pth"],
            "needs": [1],
            "note": "0:26:12",
            "command": "snakemake results/weights.pth",
        },
        {
            "name": "prepare",
            "files": ["results/<train>.json"],
            "needs": [],
            "note": "",
            "command": "snakemake 'results/<train>.json'",
        },
    ],
}
QUANTIZATION = {
    "within_budget": True,
    "undecided": False,
    "drop_points": 0.3,
    "maximal_accuracy_degradation": 1.0,
}
SCALARS = """kind,lr,loss,loss_cls,epoch,iter,step,f-measure,mAP50
train,0.001,2.5,1.5,1,10,10,,
validation,,,,,,1,0.8,0.7
train,0.0005,1.5,0.7,2,20,20,,
validation,,,,,,2,0.5,0.4
"""


def write_run(
    folder: Path,
    classes: list[str],
    images: int = 8,
    side: int = 240,
    found: bool = True,
    nncf: bool = True,
) -> Path:
    """Write a run with a snapshot, an IR and int8 models; return the folder of its results."""
    rng = np.random.default_rng(0)
    results, pictures = folder / "results", folder / "images"
    for place in (results / "dataset", results / "logs", pictures):
        place.mkdir(parents=True)
    coco = {
        "info": {"image_root": str(pictures), "annotation_file": "data/<test>.json", "remarks": []},
        "categories": [{"id": k, "name": name} for k, name in enumerate(classes, start=1)],
        "images": [],
        "annotations": [],
    }
    for image in range(images):
        name = f"image <{image}>.png"
        noise = rng.integers(0, 255, (side * 3 // 4, side, 3)).astype(np.uint8)
        cv2.imwrite(str(pictures / name), cv2.blur(noise, (3, 3)))
        coco["images"].append(
            {
                "id": image,
                "file_name": name,
                "width": side,
                "height": side * 3 // 4,
                "sha256": f"{image:064x}",
                "dhash": f"{image:032x}",
            }
        )
        for _ in range(6):
            x, y = rng.uniform(0, 0.6 * side, 2)
            width, height = rng.uniform(0.05, 0.3, 2) * side
            coco["annotations"].append(
                {
                    "id": len(coco["annotations"]) + 1,
                    "image_id": image,
                    "category_id": int(rng.integers(1, len(classes) + 1)),
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
    subset = results / "dataset/test.json"
    subset.write_text(json.dumps(coco))
    described = statistics.describe({"train": subset, "test": subset}, (320, 256))
    (results / "dataset/statistics.json").write_text(json.dumps(described))
    (results / "logs/scalars.csv").write_text(SCALARS)
    batch = drawing.contact_sheet([drawing.tile(noise, "a <b>.png")] * 8)
    (results / "dataset/batch.jpg").write_bytes(drawing.jpeg(batch))
    rows = ["model,latency_ms,latency_p95_ms,images_per_second,sha256"]
    places = {"": "weights.pth", "openvino": "openvino", "pot": "pot"} | (
        {"nncf": "nncf"} if nncf else {}
    )
    for number, (place, path) in enumerate(places.items()):
        (results / place).mkdir(exist_ok=True)
        files = ["weights.pth"] if not place else ["openvino.xml", "openvino.bin"]
        for file in files:
            (results / place / file).write_text(f"{place} {file}")
        detected = _detect(coco, len(classes), number) if found else {}
        evaluation = Evaluation(coco, detected)
        predictions.write(results / place / "predictions.json", detected)
        content = figures(evaluation, coco, POSTPROCESSING, 0.4)
        content |= {"images_per_second": 20.0}
        content |= {"quantization": QUANTIZATION} if place in ("pot", "nncf") else {}
        model = [results / place / file for file in files]
        content |= subject(model, subset, results / place / "predictions.json", "cpu")
        (results / place / "performance.json").write_text(json.dumps(content))
        digest = sha256(model[-1])
        rows.append(f"{results / path},{40 / (number + 1)},50,{30 * (number + 1)},{digest}")
    (results / "speed.csv").write_text("\n".join(rows) + "\n")
    return results


def _detect(coco: dict, classes: int, seed: int) -> dict[int, Detections]:
    """Invent detections with all types of error, somewhat different for each model."""
    rng, own = np.random.default_rng(1), np.random.default_rng(seed)
    found = {}
    for image in coco["images"]:
        truths = [entry for entry in coco["annotations"] if entry["image_id"] == image["id"]]
        boxes = np.array([entry["bbox"] for entry in truths])
        boxes[:, 2:] += boxes[:, :2]
        labels = np.array([entry["category_id"] - 1 for entry in truths])
        chosen = rng.integers(0, len(boxes), 8)
        moved = boxes[chosen] + rng.normal(0, 2, (8, 4)) + own.normal(0, 0.2, (8, 4))
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 4)
        guesses = labels[chosen]
        guesses[rng.random(8) < 0.2] = rng.integers(0, classes)
        found[image["id"]] = Detections(moved, rng.uniform(0.1, 1, 8), guesses)
    return found
