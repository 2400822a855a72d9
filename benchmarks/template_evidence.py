"""Train every template on three datasets, with several seeds, and keep the figures.

Each training is a build of its own, in a folder that is removed afterwards. As it ends, its figures
become a row of `template_evidence.csv`, and the tables of docs/templates.md are written again. The
next call trains what has no row for these packages. Run it from the repository's folder:
python benchmarks/template_evidence.py [--dataset cells] [--seed 0]
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import date
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from detmake.artifacts import write_text  # noqa: E402
from detmake.csv_text import of_table  # noqa: E402
from detmake.report import tables  # noqa: E402
from detmake.runtime import figures  # noqa: E402

EVIDENCE = Path(__file__).with_suffix(".csv")
PAGE = ROOT / "docs/templates.md"
START, END = "<!-- benchmarks/template_evidence.py writes these tables -->\n", "<!-- end -->\n"

#: What each dataset adds to the configuration. In the tiles of the slides, which show 1.5 × 1.5
#: pixels in one, platelets have 7 to 13 pixels.
DATASETS: dict[str, dict[str, Any]] = {
    "cells": {"data": "resources/cells", "input_size": [320, 256]},
    "bccd": {"data": "resources/bccd", "input_size": [384, 288]},
    "slides": {"data": "resources/slides", "input_size": [320, 256], "tiling": {"size": 480}},
}
#: Epochs on each dataset: as many as two slow, quiet cores train in about 8 minutes.
EPOCHS = {
    "yolox_nano_relu": {"cells": 38, "bccd": 22, "slides": 55},
    "yolox_tiny": {"cells": 18, "bccd": 10, "slides": 26},
    "atss_mobilenetv2": {"cells": 20, "bccd": 12, "slides": 30},
    "rtmdet_tiny": {"cells": 18, "bccd": 10, "slides": 27},
    "ssd_mobilenetv2": {"cells": 30, "bccd": 17, "slides": 44},
    "yolox_nano": {"cells": 44, "bccd": 26, "slides": 64},
}
#: Templates that are trained with all seeds; the others with the first one.
CANDIDATES = ("yolox_nano_relu", "yolox_tiny", "atss_mobilenetv2")
SEEDS = (0, 1, 2)
#: Packages that decide the figures. With other versions, everything is trained again.
PACKAGES = ("torch", "onedl-mmdetection", "openvino", "nncf")
#: The share of the machine that other processes may take of a run whose times count.
QUIET = 0.05

#: Columns of the machine, of the run, and of what the run gives.
MACHINE = ("cpu", "packages")
RUN = ("dataset", "template", "input_size", "epochs", "seed")
MEASURED = ("f-measure", "mAP50", "mAP", "int8_drop", "int8_ms", "minutes")
#: Headings and formats of the measured columns.
WRITTEN = tables.FIGURES | {
    "int8_drop": ("int8 drop", "z.3f"),
    "int8_ms": ("int8 [ms]", ".1f"),
    "minutes": ("training [min]", ".1f"),
}


def read() -> pd.DataFrame:
    """Return the rows of the committed file."""
    if EVIDENCE.exists():
        return pd.read_csv(EVIDENCE)
    return pd.DataFrame(columns=["date", "commit", *MACHINE, *RUN, "quiet", *MEASURED])


def this_machine() -> dict[str, str]:
    """Return the columns `MACHINE` of rows that are measured here and now."""
    cpu = figures.cpu()
    int8 = " and ".join(cpu["int8_instructions"] or ["no"])
    versions = (f"{name} {version(name).partition('+')[0]}" for name in PACKAGES)
    return {
        "cpu": f"{cpu['cpu']} with {os.cpu_count()} threads, {int8} int8 instructions",
        "packages": ", ".join(versions),
    }


def planned() -> list[dict[str, Any]]:
    """Return the columns `RUN` of all rows, in the order in which they are measured."""
    return [
        {
            "dataset": dataset,
            "template": template,
            "input_size": "×".join(map(str, DATASETS[dataset]["input_size"])),
            "epochs": EPOCHS[template][dataset],
            "seed": seed,
        }
        for seed, dataset, template in product(SEEDS, DATASETS, EPOCHS)
        if template in CANDIDATES or seed == SEEDS[0]
    ]


def missing(evidence: pd.DataFrame, packages: str) -> list[dict[str, Any]]:
    """Return the planned rows that no machine has measured with these packages."""
    rows = evidence[evidence["packages"] == packages]
    found = set(rows[[*RUN]].itertuples(index=False, name=None))
    return [run for run in planned() if tuple(run.values()) not in found]


def build(folder: Path, run: Mapping[str, Any], bccd: Path | None) -> None:
    """Build the comparison of one run's models in an empty folder."""
    experiment = {
        **DATASETS[run["dataset"]],
        "template": run["template"],
        "pretrained": None,
        "device": "cpu",
        "learning_parameters": {
            "epochs": run["epochs"],
            "seed": run["seed"],
            "batch_size": 4,  # as `suggest` chooses on a CPU
            "learning_rate_schedule": "cosine",
            "enable_early_stopping": False,
        },
        "pot_parameters": {"on_degradation": "warn"},  # a large drop is evidence, too
        "store": {"enabled": False},  # a restored training would take no time
    }
    if run["dataset"] == "bccd" and bccd:
        experiment["data"] = str(bccd.resolve())
    (folder / "config").mkdir(parents=True)
    text = yaml.safe_dump(experiment)
    (folder / "config/config.yaml").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--workflow-profile", str(ROOT / "profiles/default"), "--quiet", "all"]
    command += ["--cores", "all", "results/comparison.csv"]
    subprocess.run(command, cwd=folder, check=True)


def measured(results: Path) -> dict[str, float]:
    """Return the columns `MEASURED` of a run whose comparison is built."""
    models = pd.read_csv(results / "comparison.csv").set_index(["run", "model"]).loc["results"]
    snapshot, int8 = models.loc["snapshot"], models.loc["int8 (POT)"]
    seconds = pd.read_csv(results / "benchmarks/train.tsv", sep="\t")["s"].sum()
    return {
        **snapshot[[*tables.ACCURACY]],
        "int8_drop": snapshot["f-measure"] - int8["f-measure"],
        "int8_ms": int8["latency_ms"],
        "minutes": seconds / 60,
    }


def row(run: Mapping[str, Any], bccd: Path | None) -> dict[str, Any]:
    """Build a run and return its row, without the columns `MACHINE`."""
    commit = _commit()
    psutil.cpu_percent()
    before, started = _cpu_seconds(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), run, bccd)
        found = measured(Path(folder, "results"))
    own = (_cpu_seconds() - before) / (time.perf_counter() - started) / os.cpu_count()
    others = psutil.cpu_percent() / 100 - own
    whole = len(os.sched_getaffinity(0)) == os.cpu_count()
    return {
        "date": date.today().isoformat(),
        "commit": commit,
        **run,
        "quiet": whole and others < QUIET,
        **found,
    }


def _commit() -> str:
    """Return the last commit that changed the workflow, with `-dirty` if it has changes since."""

    def git(*words: str) -> str:
        command = ["git", *words, "--", "Snakefile", "rules", "scripts", "templates"]
        output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        return output.stdout.strip()

    return git("log", "-1", "--format=%h") + ("-dirty" if git("status", "--porcelain") else "")


def _cpu_seconds() -> float:
    """Return the seconds of all cores that ended child processes took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def markdown(evidence: pd.DataFrame) -> str:
    """Return the tables, those of each set of packages apart: means, and ± their deviation.

    The deviation is that of a sample, over seeds. Times are those of quiet runs on one CPU, the one
    with the most of them.
    """
    parts = []
    for packages, rows in evidence.groupby("packages", sort=False):
        quiet = rows.loc[rows["quiet"], "cpu"]
        timed = quiet.mode().iat[0] if len(quiet) else None
        times = rows[["int8_ms", "minutes"]].where(rows["quiet"] & (rows["cpu"] == timed))
        rows = rows.assign(**times)
        where = f"; times on: {timed}" if timed else ""
        parts.append(f"{packages}; {rows['date'].min()} to {rows['date'].max()}{where}:")
        parts += [_table(rows[rows["dataset"] == name], name) for name in DATASETS]
    return "\n\n".join(parts or ["No evidence yet."]) + "\n"


def _table(rows: pd.DataFrame, dataset: str) -> str:
    """Return the table of one dataset; a template without evidence has a row that says so."""
    if rows.empty:
        return f"{dataset}: no evidence yet."
    cells = []
    for template in EPOCHS:
        runs = rows[rows["template"] == template].groupby(["input_size", "epochs"], sort=False)
        cells += [
            [f"`{template}`", *map(str, kind), str(of_seeds["seed"].nunique()), *_figures(of_seeds)]
            for kind, of_seeds in runs
        ] or [[f"`{template}`", "no evidence yet", *[""] * (2 + len(MEASURED))]]
    headings = [dataset, "input size", "epochs", "seeds", *(WRITTEN[key][0] for key in MEASURED)]
    aligned = ["left", "left", *["right"] * (2 + len(MEASURED))]
    table = pd.DataFrame(cells, columns=headings)
    return table.to_markdown(index=False, disable_numparse=True, colalign=aligned)


def _figures(of_seeds: pd.DataFrame) -> list[str]:
    """Return the cells of a group of rows that differ in their seeds."""
    cells = []
    for key in MEASURED:
        values, form = of_seeds[key].dropna(), WRITTEN[key][1]
        spread = f" ± {format(values.std(), form)}" if len(values) > 1 else ""
        cells.append(format(values.mean(), form) + spread if len(values) else "–")
    return cells


def write_page(evidence: pd.DataFrame) -> None:
    """Write the tables into docs/templates.md."""
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    write_text(PAGE, f"{before}{START}\n{markdown(evidence)}\n{END}{rest.split(END)[1]}")


def main() -> None:
    """Measure the rows that are missing, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, choices in {"dataset": DATASETS, "template": EPOCHS, "seed": SEEDS}.items():
        kind = int if name == "seed" else str
        parser.add_argument(f"--{name}", nargs="+", type=kind, choices=[*choices], default=choices)
    parser.add_argument("--bccd", type=Path, help="folder of BCCD (default: download it)")
    parser.add_argument("--tables", action="store_true", help="only write docs/templates.md")
    arguments = parser.parse_args()
    write_page(read())
    if arguments.tables:
        return
    machine = this_machine()
    wanted = [
        run
        for run in missing(read(), machine["packages"])
        if all(run[name] in getattr(arguments, name) for name in ("dataset", "template", "seed"))
    ]
    print(f"{len(wanted)} rows to measure on {machine['cpu']}", flush=True)
    failed = 0
    for run in wanted:
        print(*run.values(), flush=True)
        try:
            new = pd.DataFrame([machine | row(run, arguments.bccd)])
        except subprocess.CalledProcessError as error:  # Snakemake told why
            print(f"No row, since this failed: {error}", file=sys.stderr)
            failed += 1
            continue
        evidence = pd.concat([read(), new]) if EVIDENCE.exists() else new[read().columns]
        write_text(EVIDENCE, of_table(evidence, index=False, float_format="%.6g"))
        write_page(read())
    if failed:
        sys.exit(f"{failed} of {len(wanted)} rows are missing.")


if __name__ == "__main__":
    main()
