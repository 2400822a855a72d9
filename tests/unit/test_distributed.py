"""Training in several processes: gradients are shared, one process writes, all end together."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import template_files
import tiny_training
import torch
import training_step
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from detmake.errors import InputError
from detmake.training import distributed
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


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train two epochs in two processes: the folder, with a list of what each wrote; the result."""
    folder = tmp_path_factory.mktemp("trained")
    observer = folder / "observer"
    observer.mkdir()
    (observer / "sitecustomize.py").write_text(OBSERVER.format(folder=str(observer)))
    files = tuple(tiny_training.write_subset(folder, *part) for part in (("train", 10), ("val", 5)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(observer))
        recipe = tiny_training.recipe("atss_mobilenetv2", (128, 96))
        result = train(recipe, *files, folder / "checkpoints", processes=PROCESSES)
    return folder, result


def test_processes_share_the_statistics_of_batch_normalization(tmp_path):
    files = [tiny_training.write_subset(tmp_path, *part) for part in (("train", 10), ("val", 5))]
    recipe = tiny_training.recipe(num_iters=1, learning_rate=0.01)
    kept = train(recipe, *files, tmp_path / "checkpoints", processes=PROCESSES).snapshot
    found, expected = tiny_training.normalization(kept, recipe, files[0], PROCESSES)
    torch.testing.assert_close(found, expected, rtol=0.01, atol=1e-4)


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


# Interruption

# Kills the first process when it begins to save its second checkpoint.
KILLER = """
import os
def kill(event, args):
    if event == "open" and str(args[0]).endswith("epoch_2.pth.partial"):
        os.kill(os.getpid(), 9)
if os.environ.get("RANK") == "0":
    import sys
    sys.addaudithook(kill)
"""


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_weights(trained, tmp_path, monkeypatch):
    folder, uninterrupted = trained
    files = folder / "train.json", folder / "val.json"
    recipe = tiny_training.recipe("atss_mobilenetv2", (128, 96))
    (tmp_path / "sitecustomize.py").write_text(KILLER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ChildFailedError):
        train(recipe, *files, tmp_path / "checkpoints", processes=PROCESSES)
    assert [path.name for path in tmp_path.glob("checkpoints/epoch_*.pth")] == ["epoch_1.pth"]
    (tmp_path / "sitecustomize.py").unlink()
    resumed = train(recipe, *files, tmp_path / "checkpoints", processes=PROCESSES)
    weights = uninterrupted.snapshot.state_dict
    assert weights.keys() == resumed.snapshot.state_dict.keys()
    for name, values in resumed.snapshot.state_dict.items():
        assert torch.equal(weights[name], values), name
    assert resumed.scalars.loss.equals(uninterrupted.scalars.loss)


# The end of a training


@pytest.mark.slow
def test_a_diverged_training_says_what_to_change(tmp_path):
    files = [tiny_training.write_subset(tmp_path, name, 10) for name in ("train", "val")]
    recipe = tiny_training.recipe(learning_rate=1e12)
    with pytest.raises(InputError, match=r"Lower learning_parameters\.learning_rate"):
        train(recipe, *files, tmp_path / "checkpoints", processes=PROCESSES)


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


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
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
