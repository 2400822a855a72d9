"""Choosing the device."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from detmake.errors import InputError
from detmake.model import device

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_refused():
    with pytest.raises(InputError, match="device: found cuda"):
        device.use("cuda")


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_more_processes_than_gpus_are_refused(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    device.use(name, 2)
    with pytest.raises(InputError, match=r"resources\.gpus: found 3, .* finds 2 on this machine"):
        device.use(name, 3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_several_processes_can_share_the_cpu():
    device.use("auto", 8)


@pytest.mark.parametrize("name", ["cpu", "auto"])
def test_mmengine_uses_the_chosen_device(name):
    code = (
        f"from detmake.model import device; device.use('{name}')\n"
        "import torch; from mmengine.device import get_device\n"
        "print(get_device(), torch.cuda.is_available())"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True, check=True
    ).stdout
    gpu = name == "auto" and torch.cuda.is_available()
    assert output.split() == ["cuda" if gpu else "cpu", str(gpu)]
