"""OpenVINO and NNCF send no telemetry; if they do, they keep an identity in ~/intel."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from detmake.evaluation import benchmark_app

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.mark.parametrize(
    "code",
    [
        "from detmake.model import ir; from detmake.quantization import post_training",
        "from detmake.runtime import inference",
        benchmark_app.IMPORTS,
    ],
)
def test_nothing_is_sent(code, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(SCRIPTS)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert not (tmp_path / "intel").exists()
