"""Test everything that uses a GPU: the library's tests, then BCCD at the tutorial's size.

Trains with mixed precision, evaluates, and quantizes with both methods; with several GPUs, also
trains on all of them. Prints the time of each step and the F-measure and speed of each model.
Run it from the repository's folder, after installing requirements-test.txt:

    python benchmarks/gpu.py [--data /path/to/BCCD]

The tutorial trained for 8.5 minutes on an RTX 3090.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import torch

MODELS = {"snapshot": "", "IR": "openvino/", "POT": "pot/", "NNCF": "nncf/"}
STEPS = ("train", "nncf", "pot")


def build(results: str, options: list[str], device: str, **config: str) -> None:
    """Build all models of an experiment as a user would."""
    settings = {"results": results, "device": device, **config}
    targets = [f"{results}/{folder}performance.json" for folder in MODELS.values()]
    command = [sys.executable, "-m", "snakemake", *targets, "--cores", "all", *options]
    given = [f"{key}={value}" for key, value in settings.items()]
    subprocess.run([*command, "--config", *given], check=True)


def report(results: str) -> None:
    """Print the times and measurements of a built experiment."""
    folder = Path(results)
    measured = {
        name: json.loads((folder / part / "performance.json").read_text(encoding="utf-8"))
        for name, part in MODELS.items()
    }
    gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    print(f"\n{results}: torch {torch.__version__}; {', '.join(gpus) or 'CPU'}\n")
    minutes = {
        step: pd.read_csv(folder / "benchmarks" / f"{step}.tsv", sep="\t")["s"].sum() / 60
        for step in STEPS
    }
    print(pd.Series(minutes, name="minutes").round(1).to_markdown(), end="\n\n")
    columns = ["f-measure", "images_per_second"]
    print(pd.DataFrame(measured).T[columns].astype(float).round(4).to_markdown())


def main() -> None:
    """Build with one GPU, then with all of them, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of BCCD (default: download it)")
    parser.add_argument("--results", default="results_gpu", help="folder of the results")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument(
        "options",
        nargs="*",
        help="after --: Snakemake options of another experiment, built without running the tests",
    )
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit(f"torch {torch.__version__} finds no GPU; install its driver and a CUDA build.")
    config = {} if arguments.options else {"input_size": "[992, 736]"}
    if arguments.data:
        config["data"] = arguments.data
    options = arguments.options or ["--configfile", "config/bccd.yaml"]

    if not arguments.options:
        subprocess.run([sys.executable, "-m", "pytest", "tests/unit"], check=True)
    runs = {arguments.results: {}}
    if torch.cuda.device_count() > 1:
        gpus = f"{{gpus: {torch.cuda.device_count()}}}"
        runs[f"{arguments.results}_{torch.cuda.device_count()}"] = {"resources": gpus}
    for results, own in runs.items():
        build(results, options, arguments.device, **config, **own)
    for results in runs:
        report(results)


if __name__ == "__main__":
    main()
