"""Several processes that train one model, each on its own GPU: torchrun's launcher, gradients."""

import ctypes
import os
import signal
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.model import MMDistributedDataParallel, convert_sync_batchnorm, revert_sync_batchnorm
from torch import distributed as dist
from torch import nn
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from detmake.model import device

_SCRIPTS = Path(__file__).parents[2]


def launch(arguments: Sequence[str], processes: int) -> None:
    """Run Python with the same arguments in several processes on this machine, as torchrun does.

    The processes call `member`. If one of them fails or is killed, the others end; all of them end
    with this process.

    Args:
        arguments: arguments of the Python interpreter, which can import `detmake`.
        processes: number of processes.

    Raises:
        torch.distributed.elastic.multiprocessing.errors.ChildFailedError: a process failed; names
            the first one.
        torch.distributed.elastic.multiprocessing.SignalException: a signal ended this process.
    """
    paths = [str(_SCRIPTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    elastic_launch(
        LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",  # a machine may be unable to resolve its own name
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
        ),
        sys.executable,
    )(*arguments)


@contextmanager
def member() -> Iterator[int]:
    """Join the process group that `launch` started, on a GPU of this process or on the CPU.

    Yields:
        Rank of this process; the process of rank 0 writes the files.
    """
    if sys.platform == "linux":
        pr_set_pdeathsig = 1  # sys/prctl.h: end with the launcher, however it ends
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
    on_gpu = device.name() == "cuda"
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield dist.get_rank()
    finally:
        dist.destroy_process_group()


def wrap(model: nn.Module) -> MMDistributedDataParallel:
    """Average the gradients of a model, which is on its device, over all processes.

    On GPUs, batch normalization uses the whole batch. On the CPU torch cannot do that, so it uses
    this process's part.
    """
    on_gpu = device.name() == "cuda"
    return MMDistributedDataParallel(
        module=convert_sync_batchnorm(model) if on_gpu else revert_sync_batchnorm(model),
        device_ids=[torch.cuda.current_device()] if on_gpu else None,
        broadcast_buffers=False,  # `SyncBuffersHook` averages them after each epoch
        find_unused_parameters=True,  # some backbones have stages whose maps the neck ignores
    )
