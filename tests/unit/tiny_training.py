"""A dataset of white discs and a recipe that trains on it in seconds."""

import json
from pathlib import Path

import cv2
import numpy as np
import template_files
from mmengine.dataset import pseudo_collate
from torch import Tensor
from torch.optim.swa_utils import update_bn

from detmake.model.snapshot import Snapshot
from detmake.training import augmented_dataset
from detmake.training.recipe import Recipe
from detmake.training.schedule import mixed_precision


def write_subset(folder: Path, name: str, images: int) -> Path:
    """Draw images with a disc each; return the file of their prepared annotations."""
    rng = np.random.default_rng(images)
    coco = {
        "info": {"image_root": str(folder), "annotation_file": f"{name}.json"},
        "categories": [{"id": 1, "name": "disc"}],
        "images": [],
        "annotations": [],
    }
    for number in range(images):
        file = f"{name}{number}.png"
        picture = np.full((96, 128, 3), 90, np.uint8)
        x, y = (int(value) for value in rng.integers(20, 76, 2))
        radius = 10 + number % 10
        cv2.circle(picture, (x, y), radius, (240, 240, 240), -1)
        cv2.imwrite(str(folder / file), picture)
        coco["images"].append({"id": number, "file_name": file, "width": 128, "height": 96})
        side = 2 * radius
        coco["annotations"].append(
            {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "bbox": [x - radius, y - radius, side, side],
                "area": side * side,
                "iscrowd": 0,
            }
        )
    path = folder / f"{name}.json"
    path.write_text(json.dumps(coco), encoding="utf-8")
    return path


def normalization(
    snapshot: Snapshot, recipe: Recipe, train_file: Path, processes: int = 1
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return a snapshot's statistics of batch normalization, and those that torch computes.

    torch gets the images of the first epoch, in the batches of each process.
    """
    learned = recipe.learning_parameters
    coco = json.loads(train_file.read_text(encoding="utf-8"))
    changes = augmented_dataset.transforms("light", recipe.pipeline, recipe.input_size, 0)
    dataset = augmented_dataset.AugmentedDataset(
        seed=learned.seed, **changes, **augmented_dataset.files(train_file, coco)
    )
    keys = list(augmented_dataset.EpochSampler(dataset, seed=learned.seed))
    detector, share = snapshot.detector(), learned.batch_size // processes
    batches = [
        detector.data_preprocessor(pseudo_collate([dataset[key] for key in batch]), True)["inputs"]
        for rank in range(processes)
        for batch in (keys[rank::processes][at : at + share] for at in range(0, len(keys), share))
        if batch
    ]
    with mixed_precision(detector):
        update_bn(batches, detector)
    computed = {name: value for name, value in detector.state_dict().items() if "running_" in name}
    return {name: snapshot.state_dict[name] for name in computed}, computed


def recipe(template: str = "ssd_mobilenetv2", input_size=(64, 64), **learning_parameters) -> Recipe:
    """Return a recipe of two epochs in batches of four, with other learning parameters if given."""
    parts = template_files.load(template)
    params = {
        **{key: parts[key] for key in ("id", "name", "model", "pipeline", "optimizer")},
        "channel_order": None,
        "code": [],
        "input_size": list(input_size),
        "learning_parameters": {
            "batch_size": 4,
            "num_iters": 2,
            "learning_rate": 0.001,
            "learning_rate_warmup_iters": 0,
            "learning_rate_schedule": "cosine",
            "learning_rate_patience": 3,
            "early_stop_patience": 5,
            "enable_early_stopping": False,
            "use_adaptive_interval": False,
            "seed": 0,
            **learning_parameters,
        },
    }
    return Recipe.from_params(params)
