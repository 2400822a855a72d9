"""Run Snakemake in a process that is forked from one with Snakemake's modules loaded.

They take longer to load than a dry run of the tiny project takes.
"""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["snakemake.cli"])


def run(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float
) -> tuple[int, str]:
    """Return the exit code of Snakemake in a folder, and what it prints."""
    with tempfile.NamedTemporaryFile(prefix="snakemake-", suffix=".txt") as output:
        process = _server.Process(
            target=_main, args=(list(arguments), folder, dict(environment), output.name)
        )
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
        return process.exitcode, Path(output.name).read_text(encoding="utf-8")


def _main(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], output: str
) -> None:
    from snakemake.cli import main

    file = os.open(output, os.O_WRONLY | os.O_APPEND)
    for stream in (sys.stdout.fileno(), sys.stderr.fileno()):
        os.dup2(file, stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = ["snakemake", *arguments]
    main()
