"""A Slurm cluster on this machine: munge, slurmctld and two slurmd, one of them with GPUs."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import debian
import psutil

_PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "squeue", "scontrol")
# The environment of every process of a cluster, jobs included, names its folder by this variable.
_MARK = "DETMAKE_SLURM_CLUSTER"

# Snakemake's plugin unsets SLURM_CONF for srun. Most clusters have the file in its usual place.
_SRUN = """\
#!/bin/sh
SLURM_CONF={folder}/slurm.conf exec {srun} "$@"
"""

_CONFIGURATION = """\
ClusterName=test
SlurmctldHost=localhost
SlurmUser=root
SlurmdUser=root
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
# Works without control groups, which a container may lack: memory is watched once a second.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
# A node that returns is used again at once.
ReturnToService=2
SchedulerParameters=bf_interval=2,sched_interval=2
KillWait=2
MinJobAge=7200
# CPUs and memory are those configured here, not those of the machine.
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=cpu0 NodeHostname=localhost NodeAddr=127.0.0.1 Port={cpu_port} CPUs=8 RealMemory=32000
NodeName=gpu0 NodeHostname=localhost NodeAddr=127.0.0.1 Port={gpu_port} CPUs=8 RealMemory=32000 \
Gres=gpu:4
PartitionName=cpu Nodes=cpu0 Default=YES State=UP
PartitionName=gpu Nodes=gpu0 State=UP
"""


def obstacle() -> str | None:
    """Return why no cluster can run on this machine; None if one can."""
    if os.geteuid():
        return "the daemons of the cluster need root"
    if (missing := _missing_programs()) and not debian.can_install():
        return f"not installed: {', '.join(missing)} (Debian: slurm-wlm and munge)"
    return None


def _missing_programs() -> list[str]:
    return [program for program in _PROGRAMS if not _path(program)]


def install() -> None:
    """Install Debian's packages where they are missing; needs root and apt-get."""
    if _missing_programs():
        debian.install("slurm-wlm", "munge")


class Cluster:
    """Partitions `cpu` (node cpu0, the default) and `gpu` (node gpu0, with four fake GPUs).

    A context manager: all its processes end with the block. Its files are in one folder, and it
    listens on free ports.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def environment(self) -> dict[str, str]:
        """The variables that direct Slurm's programs, and with them Snakemake, to this cluster."""
        return {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            _MARK: str(self.folder),
        }

    def __enter__(self) -> "Cluster":
        self._configure()
        try:
            munge = {
                name: self.folder / f"munge.{name}" for name in ("key", "socket", "log", "seed")
            }
            files = [f"--{name}-file={munge[name]}" for name in ("key", "log", "seed")]
            pid_file = f"--pid-file={self.folder}/munge.pid"
            self._start(
                "munged",
                *("--foreground", "--force", *files, pid_file, f"--socket={munge['socket']}"),
            )
            wait_until(munge["socket"].exists, "munged listens")
            self._start("slurmctld", "-D")
            for node in ("cpu0", "gpu0"):
                self.start_node(node)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._kill(self._processes())

    def start_node(self, node: str) -> None:
        """Start a node and wait until it accepts jobs."""
        self._start("slurmd", "-D", "-N", node, SLURMD_NODENAME=node)
        wait_until(lambda: self.node_state(node) in ("idle", "mix"), f"{node} accepts jobs")

    def kill_node(self, node: str) -> None:
        """Kill a node's daemon and all jobs on it at once, as if the power had failed.

        The controller learns it as from a health check; by itself it would notice within minutes.
        """
        self._kill(self._processes(SLURMD_NODENAME=node))
        self.call("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=power")

    def node_state(self, node: str) -> str:
        """Return a node's state as sinfo abbreviates it; empty if there is no answer."""
        command = ["sinfo", "--noheader", "--nodes", node, "--format", "%t"]
        return self._run(command, check=False)

    def jobs(self, folder: Path) -> dict[str, list[dict[str, str]]]:
        """Return Slurm's records of a project's jobs by rule, in the order of submission."""
        jobs: dict[str, list[dict[str, str]]] = {}
        for line in self.call("scontrol", "--details", "--oneliner", "show", "job").splitlines():
            job = dict(re.findall(r"(\S+?)=(\S*)", line))
            if job.get("WorkDir") == str(folder):
                rule = job["Comment"].removeprefix("rule_").split("_wildcards_")[0]
                jobs.setdefault(rule, []).append(job)
        return {
            rule: sorted(found, key=lambda job: int(job["JobId"])) for rule, found in jobs.items()
        }

    def call(self, *command: str) -> str:
        """Run one of Slurm's programs; return what it prints."""
        return self._run(command)

    def _run(self, command: Sequence[str], check: bool = True) -> str:
        process = subprocess.run(
            command,
            env={**os.environ, **self.environment},
            check=check,
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
        )
        return process.stdout.strip()

    def _configure(self) -> None:
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
            for free in sockets:
                free.bind(("127.0.0.1", 0))
            ports = [free.getsockname()[1] for free in sockets]
        for name in ("bin", "state", "spool.cpu0", "spool.gpu0"):
            (self.folder / name).mkdir()
        names = ("port", "cpu_port", "gpu_port")
        text = _CONFIGURATION.format(folder=self.folder, **dict(zip(names, ports, strict=True)))
        (self.folder / "slurm.conf").write_text(text)
        for index in range(4):  # any device file will do
            (self.folder / f"gpu{index}").symlink_to("/dev/null")
        gpus = f"NodeName=gpu0 Name=gpu File={self.folder}/gpu[0-3]\n"
        (self.folder / "gres.conf").write_text(gpus)
        srun = self.folder / "bin/srun"
        srun.write_text(_SRUN.format(folder=self.folder, srun=_path("srun")))
        srun.chmod(0o755)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)

    def _start(self, program: str, *arguments: str, **variables: str) -> None:
        with (self.folder / f"{program}.out").open("ab") as output:
            subprocess.Popen(
                [_path(program), *arguments],
                env={**os.environ, **self.environment, **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _processes(self, **variables: str) -> list[psutil.Process]:
        """Return the processes of the cluster whose environment has these variables, too.

        Daemons of job steps come first, since they report how a job ended. They hide their
        environment, so they are found by their children.
        """
        wanted = {_MARK: str(self.folder), **variables}.items()
        steps, others = set(), set()
        # psutil refuses to kill a process whose number it has seen before, as that of another.
        psutil.process_iter.cache_clear()
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # it has ended, or belongs to another user
                if wanted <= process.environ().items():
                    others.add(process)
                    parent = process.parent()
                    if parent and parent.name() == "slurmstepd":
                        steps.add(parent)
        return [*steps, *others]

    @staticmethod
    def _kill(processes: list[psutil.Process]) -> None:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=10)


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: the condition does not become true in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.2)


def _path(program: str) -> str | None:
    """Return the path of a program; the daemons are in folders on the PATH of root only."""
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
