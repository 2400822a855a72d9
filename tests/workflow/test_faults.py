"""Faults of the machine: after each, the next build ends with the same bytes.

`pytest --all --fuzz 50 tests/workflow/test_faults.py` kills a build at 50 moments.
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

MODEL = "results/openvino/openvino.xml"
#: What runs again until a kill: export, and evaluation of the IR.
FORCED = ("results/openvino/performance.json", "--forcerun", "export")
LONGEST = 12  # seconds that these take, about


def content(project) -> dict[str, str | dict]:
    """What a build has made, without what differs each time: logs, times and speed."""
    found: dict[str, str | dict] = {}
    for path in sorted((project.folder / "results").rglob("*")):
        name = str(path.relative_to(project.folder))
        if not path.is_file() or path.parent.name in ("logs", "benchmarks"):
            continue
        if path.name in ("provenance.json", "photos"):
            continue
        if path.name == "performance.json":
            figures = json.loads(path.read_text())
            del figures["images_per_second"], figures["measured_with"]
            found[name] = figures
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def test_a_build_killed_at_any_moment_is_completed_by_the_next(built, request):
    """Another build in the same folder is refused meanwhile."""
    expected = content(built)
    for seed in range(request.config.option.fuzz or 1):
        process = built.start(*FORCED)
        started = time.monotonic()
        if seed == 0:
            locks = built.folder / ".snakemake/locks"
            while process.poll() is None and not any(locks.glob("*")):
                time.sleep(0.1)
            assert "--unlock" in built.snakemake(*FORCED, fails=True)
        moment = random.Random(seed).uniform(1, LONGEST)
        time.sleep(max(0, started + moment - time.monotonic()))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        built.snakemake("--unlock")
        built.snakemake(MODEL, FORCED[0])
        assert content(built) == expected, f"killed after {moment} s (seed {seed})"


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


def test_a_full_disk_and_one_that_is_read_only(built):
    expected = content(built)
    results, kept = built.folder / "results", built.folder / "kept"
    shutil.copytree(results, kept)
    with mounted(results, "-t", "tmpfs", "-o", "size=40m", "tmpfs"):
        left_out = shutil.ignore_patterns("openvino", "pot")
        shutil.copytree(kept, results, dirs_exist_ok=True, ignore=left_out)
        room = shutil.disk_usage(results).free - 2_000_000  # the model has five megabytes
        (results / "photos").write_bytes(bytes(room))
        output = built.snakemake(MODEL, fails=True)
        assert "Free some space, and build again" in output
        assert not list(results.glob("openvino/*"))
        (results / "photos").unlink()
        built.snakemake(MODEL)
        found = content(built)
    assert "results/openvino/openvino.bin" in found
    assert {name: expected[name] for name in found} == found

    with mounted(results, "--bind", results):
        subprocess.run(["mount", "-o", "remount,ro,bind", results], check=True)
        assert "Write-protected output files" in built.snakemake(*FORCED, fails=True)
    built.snakemake(FORCED[0])
    assert content(built) == expected
