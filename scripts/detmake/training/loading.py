"""How many processes load images while this one computes."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.dist import get_world_size

from detmake.model import device

log = logging.getLogger("detmake")

SHARED_MEMORY = Path("/dev/shm")

#: Batches in shared memory for each process: two in advance and one in use, of each subset.
_BATCHES = 6


def processes(wanted: int | str, batch_size: int, input_size: Sequence[int]) -> int:
    """Number of processes that load images for this one.

    For `auto`: a GPU leaves the threads of the CPU to loading. On a CPU, loading and augmentation
    take some tenth of the work, so one thread in four is plenty; on two threads, a process that
    loads slows training down. Too little shared memory, as in a container, limits any number:
    without room, processes lose their batches, and training would wait for them for ever.

    Args:
        wanted: a number, or `auto`.
        batch_size: images in a batch of this process.
        input_size: width and height in pixels of an image in a batch.
    """
    if wanted == "auto":
        threads = torch.get_num_threads()
        wanted = threads - 1 if device.name() == "cuda" else threads // 4
    if not SHARED_MEMORY.exists():
        return wanted
    width, height = input_size
    batches = _BATCHES * batch_size * width * height * 3
    room = shutil.disk_usage(SHARED_MEMORY).free // (batches * get_world_size())
    if room < wanted:
        log.warning(
            "%s has room for %d of %d processes that load images. In a container, enlarge it, such "
            "as with `docker run --shm-size`",
            SHARED_MEMORY,
            room,
            wanted,
        )
    return min(wanted, room)
