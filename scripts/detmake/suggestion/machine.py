"""The machine that a suggestion is for."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: Where Linux tells of control groups (https://docs.kernel.org/admin-guide/cgroup-v2.html).
_GROUPS, _OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Machine:
    """The machine that was measured.

    Attributes:
        cpu: its name and number of threads.
        memory: bytes.
        gpu: its name, or None.
        gpu_memory: bytes, or 0.
    """

    cpu: str
    memory: int
    gpu: str | None = None
    gpu_memory: int = 0

    @property
    def training_memory(self) -> int:
        """Bytes that a training has: the GPU's, if there is one."""
        return self.gpu_memory or self.memory

    @property
    def batch_size(self) -> int:
        """The usual number of images in a batch.

        A GPU needs more of them to be busy. On a CPU, an image takes nearly as long in a smaller
        batch, and more iterations learn more: with BCCD and YOLOX-nano-ReLU at 384×288, an
        F-measure of 0.835 after 50 epochs with batches of 4, and of 0.827 after 62 with 8.
        """
        return 8 if self.gpu else 4


def total_memory() -> int:
    """Return the bytes of memory that this process may have: the machine's, or less in a container.

    Linux limits a container or a cluster's job by its control group, or one above it.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with suppress(OSError):
        name = _OWN_GROUP.read_text(encoding="utf-8").rpartition("::")[2].strip()
        group = _GROUPS / name.lstrip("/")
        for folder in (group, *group.parents):
            with suppress(OSError, ValueError):  # "max" is no number
                limits.append(int((folder / "memory.max").read_text(encoding="utf-8")))
    return min(limits)
