"""A dry-run of an up-to-date build costs about the same on many images as on few."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

import dry_run

pytestmark = [pytest.mark.slow, pytest.mark.alone]

SIZES = (100, 100_000)
TARGET = "results/weights.pth"

# Snakemake with a note of each file that Python opens.
AUDITED = """\
import os, sys
opened = set()

def note(event, arguments):
    if event == "open" and not isinstance(arguments[0], int):
        path = os.path.relpath(os.fsdecode(arguments[0]))
        if not os.path.isdir(path):
            opened.add(path)

sys.addaudithook(note)
from snakemake.cli import main
try:
    main()
finally:
    open("opened.txt", "w").write("\\n".join(opened))
"""


@pytest.fixture(scope="module")
def projects(tmp_path_factory) -> list[Path]:
    """Two up-to-date projects, with few images and with many."""
    folder = tmp_path_factory.mktemp("dry_run")
    projects = [folder / str(images) for images in SIZES]
    for project, images in zip(projects, SIZES, strict=True):
        dry_run.make_project(project, images)
        dry_run.snakemake(project, TARGET)
    return projects


def test_a_thousand_times_the_images_at_most_triple_the_time(projects):
    few, many = dry_run.measure(projects, 3, TARGET)
    assert many <= 3 * few


def opened(project: Path) -> list[str]:
    """The project's files that an up-to-date dry-run opens, relative to it."""
    command = [sys.executable, "-c", AUDITED, "--dry-run", TARGET]
    command += ["--snakefile", ROOT / "Snakefile", "--configfile", "config.yaml"]
    output = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True)
    assert "Nothing to be done" in output.stdout + output.stderr
    files = (project / "opened.txt").read_text().splitlines()
    return [file for file in files if not file.startswith("..")]


def test_neither_images_nor_annotations_are_opened(projects):
    few, many = map(opened, projects)
    assert len(few) == len(many)
    assert "config.yaml" in many
    # The weights; for each subset the annotations, the images that they list, and their contents.
    assert len([file for file in many if file.startswith(".snakemake/digests/")]) == 10
    assert not [file for file in many if file.startswith(("data", "results/dataset", "weights"))]


def test_one_image_among_many_is_seen(projects):
    project = projects[1]
    image = project / "data/train/054321.png"
    content = image.read_bytes()
    changed = content[:-1] + bytes([content[-1] ^ 1])
    image.unlink()  # its links are to stay as they are
    assert "Checking the train subset" in dry_run.snakemake(project, "--dry-run", TARGET)
    image.write_bytes(changed)
    assert "Checking the train subset" in dry_run.snakemake(project, "--dry-run", TARGET)
    image.write_bytes(content)
    assert "Nothing to be done" in dry_run.snakemake(project, "--dry-run", TARGET)
    image.with_name("one more.png").write_bytes(content)
    assert "Nothing to be done" in dry_run.snakemake(project, "--dry-run", TARGET)
