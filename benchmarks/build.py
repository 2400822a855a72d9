"""Seconds of the default build by Snakemake, and of its bare steps in one process.

The bare steps are the library's functions, called one after the other: no start of Python, no
imports, no files checked. The two alternate, and both must end with the same F-measures. Run it
from the repository's folder: python benchmarks/build.py
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
MODELS = ("", "openvino", "pot")
sys.path.insert(0, str(ROOT / "scripts"))


def experiment(epochs: int | None) -> dict:
    """Return the default experiment, with other epochs if they are given."""
    chosen = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    if epochs:
        chosen["learning_parameters"]["epochs"] = epochs
    return chosen


def by_snakemake(folder: Path, epochs: int | None) -> tuple[float, list[float]]:
    """Build in an empty folder and return the seconds and the F-measures of the models."""
    (folder / "config").mkdir(parents=True)
    (folder / "config/config.yaml").write_text(yaml.safe_dump(experiment(epochs)))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--workflow-profile", str(ROOT / "profiles/default"), "--quiet", "all"]
    started = time.perf_counter()
    subprocess.run([*command, "--cores", "all"], cwd=folder, check=True)
    seconds = time.perf_counter() - started
    files = [folder / "results" / model / "performance.json" for model in MODELS]
    return seconds, [json.loads(file.read_text())["f-measure"] for file in files]


def by_bare_steps(folder: Path, epochs: int | None) -> tuple[float, list[float]]:
    """Call the steps of the build and return their seconds and the F-measures of the models."""
    import nncf  # noqa: F401  imports do not count
    import torch

    from detmake.artifacts import write_json
    from detmake.build import configuration
    from detmake.data import cells, checking, sources, subsets
    from detmake.evaluation import performance
    from detmake.model import ir
    from detmake.model.detector import SnapshotDetector
    from detmake.quantization import post_training
    from detmake.runtime.inference import OpenvinoDetector
    from detmake.training.recipe import Recipe
    from detmake.training.train import train

    places = ROOT / "rules/schema.yaml", ROOT / "templates"
    settings = configuration.resolve(experiment(epochs), {}, *places)[""]
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)

    started = time.perf_counter()
    for subset in cells.SUBSETS:
        cells.write_subset(folder / "data" / subset, subset)
    classes, prepared = None, {}
    for name, source in sources.locate(folder / "data").items():
        prepared[name] = checking.prepare(source, classes)
        classes = subsets.class_names(prepared[name])
        write_json(folder / f"{name}.json", prepared[name])
    recipe = Recipe.from_params({**settings, "code": [], "channel_order": None})
    files = folder / "train.json", folder / "val.json"
    snapshot = train(recipe, *files, folder / "checkpoints", num_workers="auto").snapshot
    ir.export(snapshot, folder / "openvino")
    parameters = post_training.Parameters(**settings["pot_parameters"])
    images = subsets.image_paths(prepared["train"])
    post_training.quantize_folder(
        folder / "openvino",
        subsets.evenly_spread(images, parameters.stat_subset_size),
        prepared["val"],
        parameters,
        folder / "pot",
    )
    detectors = [
        SnapshotDetector(snapshot),
        *(OpenvinoDetector(folder / model, threads, "THROUGHPUT") for model in MODELS[1:]),
    ]
    found = [
        performance.evaluate(detector, prepared["test"], settings["postprocessing"], "test")
        for detector in detectors
    ]
    return time.perf_counter() - started, [figures["f-measure"] for figures, _ in found]


def main() -> None:
    """Measure both sides in turn and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, help="instead of the default experiment's")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    sides = {"bare steps": by_bare_steps, "snakemake": by_snakemake}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(arguments.rounds):
        f_measures = {}
        for name, side in sides.items():
            with (
                tempfile.TemporaryDirectory() as scratch,
                multiprocessing.get_context("spawn").Pool(1) as process,
            ):
                run = process.apply(side, (Path(scratch) / "build", arguments.epochs))
            seconds[name].append(run[0])
            f_measures[name] = run[1]
        if f_measures["bare steps"] != f_measures["snakemake"]:
            sys.exit(f"The sides differ in F-measure: {f_measures}")
    for name, values in seconds.items():
        print(f"{name:11} {statistics.median(values):.0f} s")
    ratios = [whole / bare for bare, whole in zip(*seconds.values(), strict=True)]
    print(f"ratio       {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
