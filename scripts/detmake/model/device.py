"""Where torch computes."""

import os

from detmake.errors import InputError


def use(device: str, processes: int = 1) -> None:
    """Choose the device of this process, before MMEngine is imported, which looks but once.

    Args:
        device: `cpu`; `cuda`; or `auto`, a GPU where there is one.
        processes: how many processes are to compute, each on a GPU of its own or all on the CPU.

    Raises:
        InputError: `cuda`, and torch finds no GPU; or it finds some, but fewer than processes.
    """
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise InputError(
                f"device: found cuda, but torch {torch.__version__} finds no GPU. Expected cpu or "
                "auto on this machine; for a GPU, install its driver and a CUDA build of torch."
            )
    if device != "cpu" and processes > 1:
        import torch

        found = torch.cuda.device_count()
        if 0 < found < processes:
            raise InputError(
                f"resources.gpus: found {processes}, but torch {torch.__version__} finds {found} "
                "on this machine. Expected at most as many as there are."
            )
