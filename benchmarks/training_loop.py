"""Seconds of a whole training, by MMDetection's own Runner and by detmake.

Both train a detector on the embedded cells as the default experiment says, from image files to the
validated weights: the same images, augmentations, optimizer and number of validations. MMDetection
has the loader, evaluator and hooks of its published configurations. Imports do not count. The two
alternate, each in a new process. Run it from the repository's folder:
python benchmarks/training_loop.py
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SIDES = ("MMDetection", "detmake")
sys.path.insert(0, str(ROOT / "scripts"))


def prepare(folder: Path) -> None:
    """Draw the cells and write the prepared subsets, train.json and val.json."""
    from detmake.artifacts import write_json
    from detmake.data import cells, checking, sources, subsets

    for subset in ("train", "valid"):
        cells.write_subset(folder / subset, subset)
    classes = None
    for name, source in sources.locate(str(folder)).items():
        coco = checking.prepare(source, classes)
        classes = subsets.class_names(coco)
        write_json(folder / f"{name}.json", coco)


def settings(template: str, epochs: int) -> dict:
    """Return the settings of the default experiment, with another template and other epochs."""
    import yaml

    from detmake.build import configuration

    experiment = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    experiment["template"] = template
    experiment["learning_parameters"]["epochs"] = epochs
    resolved = configuration.resolve(experiment, {}, ROOT / "rules/schema.yaml", ROOT / "templates")
    return resolved[""]


def by_detmake(folder: Path, scratch: Path, chosen: dict) -> float:
    """Train as the rule `train` does, and return the seconds."""
    from detmake.training.recipe import Recipe
    from detmake.training.train import train

    recipe = Recipe.from_params({**chosen, "code": [], "channel_order": None})
    started = time.perf_counter()
    train(recipe, folder / "train.json", folder / "val.json", scratch)
    return time.perf_counter() - started


def by_mmdetection(folder: Path, scratch: Path, chosen: dict) -> float:
    """Train with MMDetection's Runner and return the seconds."""
    from mmengine.config import ConfigDict
    from mmengine.runner import Runner

    from detmake.data import subsets
    from detmake.model.detector import test_pipeline
    from detmake.model.network import model_config
    from detmake.training.augmented_dataset import train_pipeline
    from detmake.training.schedule import validation_interval

    chosen["optimizer"].pop("fused", None)
    parameters, size = chosen["learning_parameters"], chosen["input_size"]
    coco = subsets.read(folder / "train.json")
    labels, boxes = subsets.class_names(coco), subsets.box_sizes(coco, size)
    epochs = parameters["num_iters"]
    iterations = -(-len(coco["images"]) // parameters["batch_size"])
    pipelines = train_pipeline(chosen["pipeline"], size), test_pipeline(size)
    for transform in pipelines[0]:
        transform.pop("box_type", None)

    def loader(name: str, subset: str, pipeline: list, **more: object) -> dict:
        dataset = {
            "type": "CocoDataset",
            "ann_file": str(folder / f"{name}.json"),
            "data_prefix": {"img": str(folder / subset)},
            "metainfo": {"classes": labels},
            "pipeline": pipeline,
            "test_mode": name == "val",
        }
        return {"dataset": dataset, "num_workers": 2, "persistent_workers": True, **more}

    started = time.perf_counter()
    Runner(
        model=ConfigDict(model_config(chosen["model"], len(labels), boxes)),
        work_dir=str(scratch),
        train_dataloader=loader(
            "train",
            "train",
            pipelines[0],
            batch_size=parameters["batch_size"],
            sampler={"type": "DefaultSampler", "shuffle": True},
            batch_sampler={"type": "AspectRatioBatchSampler"},
        ),
        train_cfg={
            "by_epoch": True,
            "max_epochs": epochs,
            "val_interval": min(validation_interval(iterations), epochs),
        },
        optim_wrapper={
            "type": "OptimWrapper",
            "optimizer": {"lr": parameters["learning_rate"], **chosen["optimizer"]},
            "clip_grad": {"max_norm": 35},
        },
        param_scheduler=[
            {"type": "CosineAnnealingLR", "T_max": epochs, "convert_to_iter_based": True}
        ],
        val_dataloader=loader(
            "val",
            "valid",
            pipelines[1],
            batch_size=1,
            sampler={"type": "DefaultSampler", "shuffle": False},
        ),
        val_cfg={},
        val_evaluator={
            "type": "CocoMetric",
            "ann_file": str(folder / "val.json"),
            "metric": "bbox",
        },
        default_hooks={"checkpoint": {"type": "CheckpointHook", "interval": 1}},
        custom_hooks=[{"type": "EMAHook", "ema_type": "ExpMomentumEMA", "momentum": 0.004}],
        default_scope="mmdet",
    ).train()
    return time.perf_counter() - started


def main() -> None:
    """Measure both sides in turn and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--template", default="yolox_nano_relu")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        import torch
        import torch._dynamo  # torch's optimizers import it

        import detmake.training.train  # noqa: F401  imports do not count

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        side = by_detmake if arguments.side == "detmake" else by_mmdetection
        with tempfile.TemporaryDirectory() as scratch:
            chosen = settings(arguments.template, arguments.epochs)
            print(side(arguments.data, Path(scratch) / "checkpoints", chosen))
        return
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as data:
        prepare(Path(data))
        for _ in range(arguments.rounds):
            for side in SIDES:
                command = [sys.executable, __file__, "--epochs", str(arguments.epochs)]
                command += ["--template", arguments.template, "--side", side, "--data", data]
                output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                seconds[side].append(float(output.stdout.split()[-1]))
    for side in SIDES:
        print(f"{side:12} {statistics.median(seconds[side]):.1f} s for {arguments.epochs} epochs")
    ratios = [theirs / ours for theirs, ours in zip(*seconds.values(), strict=True)]
    print(f"ratio        {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
