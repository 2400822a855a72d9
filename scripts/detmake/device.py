"""Where torch computes."""

import os

from detmake.errors import InputError


def use(device: str) -> None:
    """Choose the device of this process, before MMEngine is imported, which looks but once.

    Args:
        device: `cpu`; `cuda`; or `auto`, a GPU where there is one.

    Raises:
        InputError: `cuda`, and torch finds no GPU.
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
