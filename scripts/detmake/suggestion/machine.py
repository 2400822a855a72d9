"""The machine that a suggestion is for."""

import os
from dataclasses import dataclass

from detmake.suggestion.choice import CPU_BATCH_SIZE, GPU_BATCH_SIZE


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
        """The usual number of images in a batch."""
        return GPU_BATCH_SIZE if self.gpu else CPU_BATCH_SIZE


def total_memory() -> int:
    """Return the bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
