"""Which tests run (those marked `slow` only on demand), and how workers share a machine."""

import os
from collections import Counter

import pytest
from xdist.scheduler import LoadFileScheduling

import detmake  # noqa: F401  # before OpenVINO, which would send telemetry

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


class Scheduler(LoadFileScheduling):
    """Lets other workers run the rest of what was given to a worker that was killed.

    That of pytest-xdist 3.8 waits for them for ever (its issues 1327, 1371 and 1378).
    """

    def remove_node(self, node):
        work = self.assigned_work.pop(node)
        pending = [(file, test) for file in work for test, done in work[file].items() if not done]
        if not pending:
            return None
        file, running = pending[0]
        work[file][running] = True
        unfinished = {file: work[file] for file, _ in pending if not all(work[file].values())}
        self.workqueue.update(unfinished)
        for other in self.assigned_work:
            self._reschedule(other)
        return running

    def _reschedule(self, node):
        super()._reschedule(node)
        # A worker runs a test when it knows the next one, or that there is none.
        if not node.shutting_down and self._pending_of(self.assigned_work[node]) < 2:
            self._reschedule(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return Scheduler(config, log) if config.option.dist == "loadfile" else None


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
