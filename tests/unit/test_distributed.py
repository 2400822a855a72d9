"""Training in several processes: gradients are shared, one process writes, all end together."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import template_files
import torch
import training_step
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from detmake.training import distributed
from detmake.training.recipe import Recipe
from detmake.training.train import train

PROCESSES = 2
HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available() and torch.cuda.device_count() < PROCESSES,
    reason=f"needs {PROCESSES} GPUs, or none",
)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Restore PYTHONPATH, which `launch` extends."""
    monkeypatch.setenv("PYTHONPATH", str(HERE))


# Gradients


@pytest.fixture(scope="module")
def shared_gradients(tmp_path_factory):
    """Gradients of one training step of each template, in processes that share the batch."""
    folder = tmp_path_factory.mktemp("gradients")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(HERE))
        distributed.launch([str(HERE / "training_step.py"), str(folder)], PROCESSES)
    return folder


@pytest.mark.parametrize("template", template_files.NAMES)
def test_shared_gradients_equal_those_of_one_process_with_the_whole_batch(
    shared_gradients, template
):
    shared = torch.load(shared_gradients / f"{template}.pth")
    alone = training_step.gradients(template, range(training_step.IMAGES))
    assert alone.keys() == shared.keys()
    largest = max(gradient.norm() for gradient in alone.values())
    assert largest > 0
    for name, gradient in alone.items():
        # Rounding may move an activation across its kink.
        assert (shared[name] - gradient).norm() <= 0.01 * gradient.norm() + 1e-5 * largest, name


# Files

# Runs first in each launched process and records the files that it opens for writing.
OBSERVER = """
import os, sys
if "RANK" in os.environ:
    record = open(os.path.join({folder!r}, os.environ["RANK"]), "w", buffering=1)
    def note(event, args):
        if event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR) and isinstance(args[0], str):
            print(os.path.abspath(args[0]), file=record)
        elif event in ("os.mkdir", "os.rename"):
            print(os.path.abspath(args[0]), file=record)
    sys.addaudithook(note)
"""


def write_subset(folder: Path, name: str, images: int) -> Path:
    rng = np.random.default_rng(images)
    coco = {
        "info": {"image_root": str(folder), "annotation_file": f"{name}.json"},
        "categories": [{"id": 1, "name": "disc"}],
        "images": [],
        "annotations": [],
    }
    for number in range(images):
        file = f"{name}{number}.png"
        picture = np.full((96, 128, 3), 90, np.uint8)
        x, y = (int(value) for value in rng.integers(16, 80, 2))
        cv2.circle(picture, (x, y), 14, (240, 240, 240), -1)
        cv2.imwrite(str(folder / file), picture)
        coco["images"].append({"id": number, "file_name": file, "width": 128, "height": 96})
        box = [x - 14, y - 14, 28, 28]
        coco["annotations"].append(
            {"id": number, "image_id": number, "category_id": 1, "bbox": box, "area": 28 * 28}
            | {"iscrowd": 0}
        )
    path = folder / f"{name}.json"
    path.write_text(json.dumps(coco), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train two epochs in two processes: the folder, with a list of what each wrote; the result."""
    folder = tmp_path_factory.mktemp("trained")
    observer = folder / "observer"
    observer.mkdir()
    (observer / "sitecustomize.py").write_text(OBSERVER.format(folder=str(observer)))
    template = template_files.load("atss_mobilenetv2")
    params = {
        **{key: template[key] for key in ("id", "name", "model", "pipeline", "optimizer")},
        "channel_order": None,
        "input_size": [128, 96],
        "learning_parameters": {
            "batch_size": 4,
            "num_iters": 2,
            "learning_rate": 0.001,
            "learning_rate_warmup_iters": 0,
            "learning_rate_schedule": "cosine",
            "learning_rate_patience": 3,
            "early_stop_patience": 5,
            "enable_early_stopping": False,
            "use_adaptive_interval": False,
            "seed": 0,
        },
    }
    files = write_subset(folder, "train", 10), write_subset(folder, "val", 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(observer))
        recipe = Recipe.from_params(params)
        result = train(recipe, *files, folder / "checkpoints", processes=PROCESSES)
    return folder, result


def test_each_epoch_sees_every_image_once(trained):
    _, result = trained
    scalars = result.scalars.query("kind == 'train'")
    assert scalars.step.tolist() == [3, 6]  # ten images in batches of four
    assert len(result.evaluation.per_class()) > 0
    assert np.isfinite(scalars.loss).all()


def test_only_the_first_process_writes_files(trained):
    folder, _ = trained
    opened = {
        rank: {
            line
            for line in (folder / "observer" / rank).read_text().splitlines()
            if "__pycache__" not in line and Path(line).is_relative_to(folder)
        }
        for rank in ("0", "1")
    }
    assert any("epoch_2.pth" in line for line in opened["0"])
    assert not {line for line in opened["1"] if Path(line).suffix}
    names = sorted(path.name for path in (folder / "checkpoints").glob("epoch_*"))
    assert names == ["epoch_1.pth", "epoch_2.pth"]


# The end of a training


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_other_process_ends_if_one_is_killed(tmp_path):
    code = (
        "import os, signal, sys, time\n"
        "from pathlib import Path\n"
        "from detmake.training import distributed\n"
        "with distributed.member() as number:\n"
        f"    Path({str(tmp_path)!r}, str(number)).write_text(str(os.getpid()))\n"
        f"    while not Path({str(tmp_path)!r}, '0').exists(): time.sleep(0.1)\n"
        "    if number == 1: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    time.sleep(600)\n"
    )
    with pytest.raises(ChildFailedError) as error:
        distributed.launch(["-c", code], PROCESSES)
    rank, failure = error.value.get_first_failure()
    assert (rank, failure.exitcode) == (1, -signal.SIGKILL)
    wait_until(lambda: not is_alive(int((tmp_path / "0").read_text())))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_all_processes_end_with_the_launcher(number):
    member = (
        "import os, time; from detmake.training import distributed\n"
        r"with distributed.member(): os.write(1, b'%d\n' % os.getpid()); time.sleep(600)"
    )
    launcher = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from detmake.training import distributed; "
            f"distributed.launch(['-c', {member!r}], {PROCESSES})",
        ],
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1] / "scripts")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    pids = [int(launcher.stdout.readline()) for _ in range(PROCESSES)]
    assert all(is_alive(pid) for pid in pids)
    launcher.send_signal(number)
    launcher.wait(60)
    wait_until(lambda: not any(is_alive(pid) for pid in pids))
