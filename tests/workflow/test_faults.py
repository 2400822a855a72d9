"""Faults of the machine: after each, the next build ends with the same bytes.

`pytest --all --fuzz 5 tests/workflow/test_faults.py` tries each rule, and kills it at 5 moments.
Without it, export and evaluation stand for all: rules write their files by the same functions.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

RUNS = {
    "adopted": {"weights": "own.pth"},
    "tiled": {"tiling": {"size": 64, "overlap": 0.25}},
}
#: What to build to try a rule, in the folder of the results.
RULES = {
    "export": "openvino/openvino.xml openvino/performance.json",
    "prepare_dataset": "dataset/train.json dataset/val.json dataset/test.json",
    "cut_tiles": "tiled/dataset/tiles.json",
    "train": "weights.pth",
    "adopt_weights": "adopted/weights.pth",
    "evaluate_snapshot": "performance.json",
    "quantize_pot": "pot/openvino.xml",
    "quantize_nncf": "nncf/openvino.xml",
    "evaluate_ir": "pot/performance.json",
    "deploy": "deploy/openvino.zip",
    "demo": "demo",
    "statistics": "dataset/statistics.json",
    "draw_batch": "dataset/batch.jpg",
    "measure_speed": "speed.csv",
    "report_run": "report.html",
    "compare": "comparison.csv",
    "benchmark": "benchmark.csv",
}
#: What some of them write there, in one job.
WRITTEN = {
    "export": "openvino/*",
    "adopt_weights": "adopted/[wlc]*",
    "quantize_pot": "pot/[!p]*",
    "evaluate_ir": "pot/p*.json",
    "deploy": "deploy/*",
    "demo": "demo",
    "report_run": "report.html",
}
LONGEST = 12  # seconds that export and evaluation take, about
#: Of these, only the names are compared: they hold times.
MEASURED = {"speed", "report", "comparison", "benchmark", "provenance"}
TIMES = {"images_per_second", "measured_with"}


def pytest_generate_tests(metafunc):
    if "rule" in metafunc.fixturenames:
        rules = WRITTEN if "disk" in metafunc.function.__name__ else RULES
        metafunc.parametrize("rule", rules if metafunc.config.option.fuzz else ["export"])


@pytest.fixture(scope="module")
def shared(built_project, tmp_path_factory, request):
    """One built project for all tests: each leaves it as it was."""
    project = built_project.copy(tmp_path_factory.mktemp("faults") / "project")
    # Without the store, from which a training would be restored.
    project.configure(store={"enabled": False}, runs=RUNS if request.config.option.fuzz else {})
    project.measure_briefly()  # or a benchmark takes minutes, four times for each kill
    shutil.copy(project.folder / "results/weights.pth", project.folder / "own.pth")
    return project


def content(project) -> dict[str, str | dict]:
    """What a build has made, without what differs each time: logs, times and speed."""
    found: dict[str, str | dict] = {}
    for path in sorted((project.folder / "results").rglob("*")):
        name = str(path.relative_to(project.folder))
        if not path.is_file() or path.parent.name in ("logs", "benchmarks"):
            continue
        if path.stem in MEASURED:
            found[name] = "measured"
        elif path.name == "performance.json":
            figures = json.loads(path.read_text())
            found[name] = {key: figures[key] for key in figures if key not in TIMES}
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def targets(rule: str) -> list[str]:
    return [f"results/{name}" for name in RULES[rule].split()]


def longest(project, rule: str) -> float:
    """Build what a rule makes, and measure how long that takes, in seconds."""
    if rule == "export":
        return LONGEST
    project.snakemake(*targets(rule))
    started = time.monotonic()
    project.snakemake(*targets(rule), "--forcerun", rule)
    return time.monotonic() - started


def test_a_build_killed_at_any_moment_is_completed_by_the_next(shared, rule, request):
    """Another build in the same folder is refused meanwhile."""
    forced = (*targets(rule), "--forcerun", rule)
    latest = longest(shared, rule)
    expected = content(shared)
    for seed in range(request.config.option.fuzz or 1):
        process = shared.start(*forced)
        started = time.monotonic()
        if seed == 0 and rule == "export":  # others may end before the second build starts
            locks = shared.folder / ".snakemake/locks"
            while process.poll() is None and not any(locks.glob("*")):
                time.sleep(0.1)
            assert "--unlock" in shared.snakemake(*forced, fails=True)
        moment = random.Random(f"{rule} {seed}").uniform(1, latest)
        time.sleep(max(0, started + moment - time.monotonic()))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        shared.snakemake("--unlock")
        shared.snakemake(*targets(rule))
        assert content(shared) == expected, f"{rule} killed after {moment} s (seed {seed})"


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """Mount something on a folder; skip the test where that is not allowed."""
    call = subprocess.run(["mount", *options, folder], capture_output=True, text=True)
    if call.returncode:
        pytest.skip(f"needs the right to mount: {call.stderr}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_and_one_that_is_read_only(shared, rule):
    """Half of what the rule writes finds room."""
    forced = (*targets(rule), "--forcerun", rule)
    longest(shared, rule)
    shared.snakemake(*targets(rule))
    expected = content(shared)
    results, kept = shared.folder / "results", shared.folder / "kept"
    shutil.copytree(results, kept)
    with mounted(results, "-t", "tmpfs", "-o", "size=80m", "tmpfs"):
        shutil.copytree(kept, results, dirs_exist_ok=True)
        before = shutil.disk_usage(results).free
        for path in results.glob(WRITTEN[rule]):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        made = shutil.disk_usage(results).free - before
        assert made
        (results / "photos").write_bytes(bytes(before + made // 2))
        output = shared.snakemake(*targets(rule), fails=True)
        assert "Free some space, and build again" in output
        assert not any(path.is_file() for path in results.glob(WRITTEN[rule]))
        (results / "photos").unlink()
        killed = (shared.folder / targets(rule)[0]).parent / ".staged-of-a-killed-process"
        killed.mkdir(parents=True, exist_ok=True)
        (killed / "performance.json").touch()
        shared.snakemake(*targets(rule))
        assert content(shared) == expected
    shutil.rmtree(kept)

    with mounted(results, "--bind", results):
        subprocess.run(["mount", "-o", "remount,ro,bind", results], check=True)
        assert "Write-protected output files" in shared.snakemake(*forced, fails=True)
    shared.snakemake(*targets(rule))
    assert content(shared) == expected
