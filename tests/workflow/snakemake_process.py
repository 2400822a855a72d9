"""Run Snakemake in a process that is forked from one with Snakemake's modules loaded.

They take longer to load than a dry run of the tiny project takes. As a program, this file is
`snakemake` in a new process, which tests can kill.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_server = multiprocessing.get_context("forkserver")
# Snakemake itself, and what it loads on every call but later.
_server.set_forkserver_preload(
    ["snakemake.cli", "snakemake.report.html_reporter", "smart_open", "jsonschema", "yte", "tqdm"]
)


def run(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float
) -> tuple[int, str]:
    """Return the exit code of Snakemake in a folder, and what it prints.

    Raises:
        TimeoutError: it has not ended after `timeout` seconds, and was killed with its jobs.
    """
    with tempfile.NamedTemporaryFile(prefix="snakemake-", suffix=".txt") as output:
        process = _server.Process(
            target=_main, args=(list(arguments), folder, dict(environment), output.name)
        )
        process.start()
        process.join(timeout)
        printed = Path(output.name).read_text(encoding="utf-8")
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)
            process.join()
            raise TimeoutError(f"not within {timeout} s: snakemake {arguments}\n{printed}")
        return process.exitcode, printed


def _main(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], output: str
) -> None:
    os.setsid()
    file = os.open(output, os.O_WRONLY | os.O_APPEND)
    for stream in (sys.stdout.fileno(), sys.stderr.fileno()):
        os.dup2(file, stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    # The path of a new process: pytest's own has the library of this repository.
    installed = (sys.prefix, sys.base_prefix)
    sys.path[:] = [path for path in sys.path if path.startswith(installed)]
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    _snakemake(arguments)


def _snakemake(arguments: Sequence[str]) -> None:
    from snakemake.cli import main
    from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

    async def sleep(_executor: RemoteExecutor) -> None:
        await asyncio.sleep(1)

    # Between two looks at a cluster's jobs. The plugin for Slurm waits 10 seconds longer each time.
    RemoteExecutor.sleep = sleep
    sys.argv = ["snakemake", *arguments]
    main()


if __name__ == "__main__":
    _snakemake(sys.argv[1:])
