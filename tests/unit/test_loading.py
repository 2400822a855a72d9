"""Number of processes that load images."""

import logging
import shutil
from types import SimpleNamespace

import pytest
import torch

from detmake.training import loading

MEBIBYTE = 2**20


@pytest.fixture
def machine(monkeypatch):
    def pretend(device="cpu", threads=2, shared=8192 * MEBIBYTE):
        monkeypatch.setattr(loading.device, "name", lambda: device)
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=shared))

    return pretend


@pytest.mark.parametrize(("threads", "processes"), [(1, 0), (2, 0), (4, 1), (16, 4)])
def test_on_a_cpu_few_threads_load(machine, threads, processes):
    machine("cpu", threads)
    assert loading.processes("auto", 8, [320, 256]) == processes


@pytest.mark.parametrize(("threads", "processes"), [(1, 0), (2, 1), (16, 15)])
def test_beside_a_gpu_all_other_threads_load(machine, threads, processes):
    machine("cuda", threads)
    assert loading.processes("auto", 8, [992, 736]) == processes


def test_shared_memory_limits_a_number_that_the_configuration_gives(machine):
    """Docker gives 64 MiB; with less than a batch needs, PyTorch's loader waits for ever."""
    for shared, processes in ((64 * MEBIBYTE, 1), (MEBIBYTE, 0), (8192 * MEBIBYTE, 2)):
        machine("cpu", 2, shared)
        assert loading.processes(2, 8, [512, 480]) == processes


def test_shared_memory_limits_the_processes(machine, caplog):
    machine("cuda", 16, shared=64 * MEBIBYTE)  # Docker's default; a batch has 5.6 MB
    with caplog.at_level(logging.WARNING):
        assert loading.processes("auto", 8, [512, 480]) == 1
    assert "has room for 1 of 15 processes that load images" in caplog.text
