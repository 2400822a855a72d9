"""Several processes that train one model, a GPU each: torchrun's launcher and what they share."""

import ctypes
import os
import signal
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.model import (
    MMDistributedDataParallel,
    convert_sync_batchnorm,
    revert_sync_batchnorm,
)
from torch import distributed as dist
from torch import nn
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

_SCRIPTS = Path(__file__).parents[2]


def launch(arguments: Sequence[str], processes: int) -> None:
    """Run Python with the same arguments in several processes of this machine, as torchrun does.

    The processes call `member`. When one of them fails or is killed the others are ended, and so
    are all when this process is ended.

    Args:
        arguments: of the Python interpreter; `detmake` can be imported there.
        processes: how many.

    Raises:
        torch.distributed.elastic.multiprocessing.errors.ChildFailedError: a process failed; names
            the first one.
        torch.distributed.elastic.multiprocessing.SignalException: this process was told to end.
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
            local_addr="localhost",  # a machine may not find its own name
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
        ),
        sys.executable,
    )(*arguments)


@contextmanager
def member() -> Iterator[int]:
    """Belong to the processes of a `launch`, on the GPU of one's own or on the CPU.

    Yields:
        Number of this process; 0 is the one that writes files.
    """
    if sys.platform == "linux":
        pr_set_pdeathsig = 1  # sys/prctl.h: end with the launcher, however it ends
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield dist.get_rank()
    finally:
        dist.destroy_process_group()


def wrap(model: nn.Module) -> MMDistributedDataParallel:
    """Make a model's gradients the mean of all processes' gradients.

    On GPUs batch normalization is over all parts of a batch; on the CPU, where torch cannot do
    that, over this process's part.

    Args:
        model: on its device.
    """
    gpu = None
    if torch.cuda.is_available():
        gpu = [torch.cuda.current_device()]
        model = convert_sync_batchnorm(model)
    else:
        model = revert_sync_batchnorm(model)
    return MMDistributedDataParallel(
        module=model,
        device_ids=gpu,
        broadcast_buffers=False,  # averaged when they are used (`average_buffers`)
        find_unused_parameters=True,  # backbones have stages whose maps the neck does not take
    )


def average_buffers(model: nn.Module) -> None:
    """Give a model the mean of all processes' normalization statistics."""
    for buffer in model.buffers():
        if buffer.is_floating_point():
            dist.all_reduce(buffer)
            buffer /= dist.get_world_size()
