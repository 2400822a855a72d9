"""Which tests run (those marked `slow` only on demand), and how workers share a machine."""

import os
from collections import Counter

import pytest

WORKER = "PYTEST_XDIST_WORKER" in os.environ
#: Files that workers begin with. One builds the tiny project. Those that take longest come next,
#: so that all workers end at about the same time; the second needs no built project.
FIRST = (
    "test_build.py",
    "test_staleness_table.py",
    "test_slurm.py",
    "test_nncf.py",
    "test_templates.py",
    "test_envs.py",
    "test_interruption.py",
    "test_tiled_build.py",
    "test_search.py",
)
SLOW_DESELECTED = pytest.StashKey[int]()

if WORKER:  # before torch is imported: workers that use all cores slow each other down
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="also run the tests marked slow")
    described = "examples of each test of test_fuzzing; kills of each rule in test_faults"
    parser.addoption("--fuzz", type=int, metavar="N", help=described)


def pytest_configure(config):
    config.stash[SLOW_DESELECTED] = 0


@pytest.hookimpl(trylast=True)  # after `-m` has chosen
def pytest_collection_modifyitems(config, items):
    """Deselect slow tests, unless `--all` or `-m` chooses.

    Workers begin with the files in `FIRST`. Then come unit tests: few need the tiny project. Files
    with many tests come before those with few.
    """
    if not (config.option.all or config.option.markexpr):
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.stash[SLOW_DESELECTED] = len(slow)
        if slow:
            config.hook.pytest_deselected(items=slow)
            items[:] = [item for item in items if not item.get_closest_marker("slow")]
    if WORKER:
        place = {name: number for number, name in enumerate(FIRST)}
        tests = Counter(item.path for item in items)
        items.sort(
            key=lambda item: (
                place.get(item.path.name, len(FIRST)),
                "unit" not in item.path.parts,
                -tests[item.path],
            )
        )


def pytest_sessionfinish(session):
    if WORKER:
        session.config.workeroutput["slow"] = session.config.stash[SLOW_DESELECTED]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Take the number of deselected tests from a worker; each one collects all tests."""
    node.config.stash[SLOW_DESELECTED] = getattr(node, "workeroutput", {}).get("slow", 0)


def pytest_terminal_summary(terminalreporter, config):
    if count := config.stash[SLOW_DESELECTED]:
        terminalreporter.write_line(f"{count} slow tests deselected; `pytest --all` runs them, too")
