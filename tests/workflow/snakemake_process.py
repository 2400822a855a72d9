"""Run Snakemake in a process that is forked from one with Snakemake's modules loaded.

They take longer to load than a dry run of the tiny project takes. So do torch and what MMDetection
loads beside it: the scripts that load them anyway are forked from that process, too. All others
run in new processes. As a program, this file is `snakemake` in a new process, which tests can kill;
its scripts run in new processes, too.
"""

import asyncio
import atexit
import gc
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from pathlib import Path

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(
    [
        # Snakemake itself, and what it loads on every call but later.
        *("snakemake.cli", "snakemake.profiles", "snakemake.storage", "nbformat"),
        *("snakemake.report.html_reporter", "smart_open", "jsonschema", "yte", "tqdm.auto"),
        # Not MMDetection: the library has its own way to load it.
        *("torch.distributed.fsdp", "torch.export", "scipy.optimize", "pandas"),
    ]
)
#: Scripts that use networks of torch.
_WITH_TORCH = (
    *("adopt_weights", "compare", "draw_batch", "evaluate_snapshot", "export", "measure_speed"),
    *("quantize_nncf", "templates", "train", "try_trial"),
)


def run(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    timeout: float,
    fork_scripts: bool = True,
) -> tuple[int, str]:
    """Return the exit code of Snakemake in a folder, and what it prints.

    Args:
        arguments: what follows `snakemake`.
        folder: the working directory.
        environment: all environment variables.
        timeout: seconds.
        fork_scripts: False where each script is to begin with random numbers and hashes of its own.

    Raises:
        TimeoutError: it has not ended after `timeout` seconds, and was killed with its jobs.
    """
    with tempfile.NamedTemporaryFile(prefix="snakemake-", suffix=".txt") as output:
        forkserver.ensure_running()
        address = forkserver._forkserver._forkserver_address if fork_scripts else None
        process = _server.Process(
            target=_main, args=(list(arguments), folder, dict(environment), output.name, address)
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
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    output: str,
    address: str | None,
) -> None:
    os.setpgid(0, 0)
    # The path of a new process: pytest's own has the library of this repository.
    installed = (sys.prefix, sys.base_prefix)
    path = [path for path in sys.path if path.startswith(installed)]
    path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    _become(path, folder, environment, output)
    if address:
        # Or this process would start a server of its own.
        forkserver._forkserver._forkserver_address = address
        forkserver._forkserver.ensure_running = lambda: None
        _fork_scripts(path, output)
    _snakemake(arguments)


def _become(path: Sequence[str], folder: Path, environment: Mapping[str, str], output: str) -> None:
    """Make a forked process like a new one."""
    gc.freeze()  # or a look for garbage would copy all that is loaded
    multiprocessing.set_start_method(None, force=True)  # the default, not that of this process
    file = os.open(output, os.O_WRONLY | os.O_APPEND)
    for stream in (sys.stdout.fileno(), sys.stderr.fileno()):
        os.dup2(file, stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = path


def _fork_scripts(path: Sequence[str], output: str) -> None:
    from snakemake.benchmark import benchmarked
    from snakemake.script import PythonScript

    def execute(job: PythonScript, file: str, edit: bool = False) -> None:
        if job.conda_env or Path(job.path.get_filename()).stem not in _WITH_TORCH:
            in_a_new_process(job, file, edit)
            return
        # What Snakemake sets for a new process.
        variables = {"OMP_NUM_THREADS": str(job.threads), "TMPDIR": job.resources["tmpdir"]}
        environment = {**os.environ, **variables}
        process = _server.Process(
            target=_script,
            args=(file, job.threads, path, os.getcwd(), environment, output, os.getpgid(0)),
        )
        process.start()
        with benchmarked(process.pid, job.bench_record):
            process.join()
        if code := process.exitcode:
            # A shell, too, adds the number of a signal to 128.
            raise subprocess.CalledProcessError(128 - code if code < 0 else code, file)

    in_a_new_process = PythonScript.execute_script
    sys.path.append(str(Path(__file__).parent))  # which a forked process takes over, to find this
    PythonScript.execute_script = execute


def _script(
    file: str,
    threads: int,
    path: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    output: str,
    group: int,
) -> None:
    import torch

    os.setpgid(0, group)
    _become([str(Path(file).parent), *path], folder, environment, output)
    torch.set_num_threads(threads)
    sys.argv = [file]
    try:
        runpy.run_path(file, run_name="__main__")
    finally:
        atexit._run_exitfuncs()


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
