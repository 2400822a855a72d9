"""A tiny project: a copy of the workflow beside a dataset that trains in seconds."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
import slurm_cluster
import snakemake_process
import yaml
from filelock import FileLock

ROOT = Path(__file__).parents[2]
# One of several workers, each of which has one core.
WORKER = "PYTEST_XDIST_WORKER" in os.environ
CORES = "1" if WORKER else "2"

#: What names of classes and images may hold; so may that of the clone's folder, but for braces.
HOSTILE = 'it\'s "q"; $(touch pwned) `id` & <script> {run} | %s \u8840\u202e'
# Snakemake takes braces for wildcards, and small letters in angle brackets for path variables.
HOSTILE_FOLDER = HOSTILE.replace("{run}", "größe").replace("<script>", "<SCRIPT>")
#: Names of the classes; a spreadsheet would compute the first, and spaces replace its line break.
SQUARE, DISC = f"=1+1 {HOSTILE}", "disc"

CONFIG = {
    "data": "data",
    "input_size": [128, 96],
    "pretrained": None,
    "learning_parameters": {
        "batch_size": 4,
        "num_iters": 24,
        "learning_rate": 0.002,
        "learning_rate_warmup_iters": 4,
        "learning_rate_schedule": "cosine",
        "enable_early_stopping": False,
    },
    # One box of the validation subset more or less is several points.
    "pot_parameters": {"stat_subset_size": 4, "maximal_accuracy_degradation": 100},
}


class Project:
    """A folder with its own copy of the workflow, in which Snakemake runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Where Snakemake runs the jobs: options of it, and variables of its environment.
        self.executor = ["--cores", CORES]
        self.environment: dict[str, str] = {}
        self.fork_scripts = True

    def submit_to(self, cluster: slurm_cluster.Cluster) -> None:
        """Let Snakemake submit through the profile, to a cluster without accounting."""
        self.environment = cluster.environment
        self.executor = [
            *("--workflow-profile", "profiles/slurm", "--max-threads", CORES),
            *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"),
        ]

    def measure_briefly(self) -> None:
        """Measure speed once and for a moment: that is what takes the time of a tiny benchmark."""
        brief = {
            "runtime/speed": {"ROUNDS": "1", "TURN_SECONDS": "0.05"},
            "evaluation/benchmark_app": {"_ROUNDS": "1", "_SECONDS": "1"},
        }
        for module, constants in brief.items():
            path = self.folder / f"scripts/detmake/{module}.py"
            text = path.read_text()
            for name, value in constants.items():
                text, changed = re.subn(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.M)
                assert changed == 1
            path.write_text(text)

    def configure(self, **changes) -> None:
        """Write `config.yaml`: the tiny configuration with some top-level keys changed."""
        path = self.folder / "config.yaml"
        path.write_text(yaml.safe_dump(CONFIG | changes), encoding="utf-8")

    def options(self, arguments: Iterable[str]) -> list[str]:
        return ["--configfile", "config.yaml", *self.executor, *arguments]

    def variables(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": "", "COLUMNS": "200", **self.environment}

    def start(self, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-P", snakemake_process.__file__, *self.options(arguments)],
            cwd=self.folder,
            env=self.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def snakemake(self, *arguments: str, fails: bool = False) -> str:
        """Run Snakemake and return what it prints; whether it fails must be as said."""
        code, output = snakemake_process.run(
            self.options(arguments), self.folder, self.variables(), 1800, self.fork_scripts
        )
        assert (code != 0) == fails, output
        return output

    def stale(self, *arguments: str) -> dict[str, int]:
        """The jobs that a real dry-run plans, by rule, without the target rule."""
        options = self.options(["--dry-run", *arguments])
        code, output = snakemake_process.run(options, self.folder, self.variables(), timeout=120)
        assert code == 0, output
        if "Nothing to be done" in output:
            return {}
        table = output.split("Job stats:")[-1].split("total")[0].splitlines()
        jobs = dict(line.split() for line in table if len(line.split()) == 2 and "--" not in line)
        jobs.pop("job")
        jobs.pop("all", None)
        return {rule: int(count) for rule, count in jobs.items()}

    def json(self, path: str) -> dict:
        return json.loads((self.folder / path).read_text(encoding="utf-8"))

    def copy(self, folder: Path) -> "Project":
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder)


def write_image(path: Path, seed: int, shapes: int) -> list[dict]:
    """Draw bright squares and dark discs on grey; return their annotations without ids."""
    rng = np.random.default_rng(seed)
    image = rng.normal(128, 4, (120, 160, 3)).clip(0, 255).astype(np.uint8)
    annotations = []
    for column in range(shapes):
        size = int(rng.integers(26, 40))
        x, y = 5 + 52 * column, int(rng.integers(5, 115 - size))
        category = int(rng.integers(1, 3))
        if category == 1:
            cv2.rectangle(image, (x, y), (x + size - 1, y + size - 1), (250, 250, 250), -1)
        else:
            cv2.circle(image, (x + size // 2, y + size // 2), size // 2, (10, 10, 10), -1)
        annotations.append({"category_id": category, "bbox": [x, y, size, size]})
    cv2.imwrite(str(path), image)
    return annotations


def write_subset(folder: Path, images: int, seed: int) -> None:
    folder.mkdir(parents=True)
    coco = {
        "categories": [
            {"id": 0, "name": "shapes", "supercategory": "none"},
            {"id": 1, "name": SQUARE.replace(" ", "\n", 1), "supercategory": "shapes"},
            {"id": 2, "name": DISC, "supercategory": "shapes"},
        ],
        "licenses": [{"id": 1, "name": "CC BY 4.0", "url": "https://creativecommons.org"}],
        "images": [],
        "annotations": [],
    }
    for index in range(images):
        name = f"image {index}.png" if index != 4 else f"image 4 {HOSTILE}.png"
        coco["images"].append({"id": index, "file_name": name, "width": 160, "height": 120})
        shapes = 3 if index < images - 1 else 0  # the last is background
        for annotation in write_image(folder / name, seed + index, shapes):
            identity = {"id": len(coco["annotations"]), "image_id": index, "iscrowd": 0}
            coco["annotations"].append(annotation | identity)
    (folder / "_annotations.coco.json").write_text(json.dumps(coco), encoding="utf-8")


@pytest.fixture(scope="session")
def template_project(tmp_path_factory) -> Project:
    """A project in which nothing is built yet. Not to be changed: copy it."""
    folder = tmp_path_factory.mktemp("project") / HOSTILE_FOLDER
    folder.mkdir()
    for file in ("Snakefile", "LICENSE", "requirements.txt"):
        shutil.copy(ROOT / file, folder)
    for part in ("rules", "scripts", "config", "templates", "profiles", "envs"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for index, (subset, images) in enumerate({"train": 16, "valid": 6, "test": 6}.items()):
        write_subset(folder / "data" / subset, images, 1000 * index)
    project = Project(folder)
    project.configure()
    return project


@pytest.fixture
def project(template_project, tmp_path) -> Project:
    """A project of the test's own in which nothing is built yet."""
    return template_project.copy(tmp_path / "project")


@pytest.fixture(scope="session")
def built_project(template_project, tmp_path_factory) -> Project:
    """A project in which everything is built, once for all workers. Not to be changed: copy it.

    CI names a folder for it by DETMAKE_BUILT, so that its second call of pytest finds it.
    """
    base = tmp_path_factory.getbasetemp()
    folder = Path(os.environ.get("DETMAKE_BUILT") or (base.parent if WORKER else base)) / "built"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            project = template_project.copy(tmp_path_factory.mktemp("building") / HOSTILE_FOLDER)
            project.snakemake()
            project.folder.rename(folder)
    return Project(folder)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A Slurm cluster."""
    if obstacle := slurm_cluster.obstacle():
        pytest.skip(obstacle)
    slurm_cluster.install()
    with slurm_cluster.Cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def embedded(template_project, tmp_path_factory, request) -> Project:
    """The default experiment, trained in two processes; built on a cluster where there can be one.

    Not to be changed.
    """
    project = template_project.copy(tmp_path_factory.mktemp("embedded") / "project")
    experiment = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    experiment["learning_parameters"]["epochs"] = 11  # of 26, to save time
    experiment["resources"] = {"gpus": 2, "partition": "cpu", "gpu_partition": "gpu"}
    (project.folder / "config.yaml").write_text(yaml.safe_dump(experiment), encoding="utf-8")
    if not slurm_cluster.obstacle():
        project.submit_to(request.getfixturevalue("cluster"))
    project.snakemake()
    return project


@pytest.fixture
def built(built_project, tmp_path) -> Project:
    """A built project of the test's own."""
    return built_project.copy(tmp_path / "project")
