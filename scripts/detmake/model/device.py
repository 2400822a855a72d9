"""The device that torch computes on."""

import os

from detmake.errors import InputError


def use(device: str, processes: int = 1) -> None:
    """Choose this process's device; call before importing MMEngine, which detects it at import.

    Args:
        device: `cpu`, `cuda`, or `auto` for a GPU if there is one.
        processes: number of processes that compute, each on its own GPU or all on the CPU.

    Raises:
        InputError: torch finds no GPU for `cuda`, or finds some, but fewer than processes.
    """
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        return
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            f"device: found cuda, but torch {torch.__version__} finds no GPU. Expected cpu or "
            "auto on this machine; for a GPU, install its driver and a CUDA build of torch."
        )
    found = torch.cuda.device_count()
    if 0 < found < processes:
        raise InputError(
            f"resources.gpus: found {processes}, but torch {torch.__version__} finds {found} "
            "on this machine. Expected at most that many."
        )


def name() -> str:
    """Name of the torch device in use: `cuda` or `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def memory() -> tuple[str | None, int]:
    """Return the name of the GPU in use and its bytes of memory; None and 0 without one."""
    import torch

    if name() == "cpu":
        return None, 0
    properties = torch.cuda.get_device_properties(0)
    return properties.name, properties.total_memory
