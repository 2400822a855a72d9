"""The deployed archive, which runs without the build, and the demo."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from detmake import artifacts
from detmake.markdown_text import escaped
from detmake.runtime import figures

ARCHIVE = "results/deploy/pot.zip"


@pytest.fixture(scope="module")
def deployed(built_project, tmp_path_factory):
    """A built project with its archive and its demo. Not to be changed."""
    project = built_project.copy(tmp_path_factory.mktemp("deploy") / "project")
    (project.folder / "results/pot/notes.txt").write_text("of the user")
    project.snakemake(ARCHIVE, "results/demo")
    return project


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The Python of a new virtual environment, in which nothing is installed yet."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder / "bin/python"


@pytest.fixture(scope="module")
def unpacked(deployed, python, tmp_path_factory):
    """The archive in an empty folder, with its requirements installed."""
    folder = tmp_path_factory.mktemp("elsewhere")
    with zipfile.ZipFile(deployed.folder / ARCHIVE) as archive:
        archive.extractall(folder)
    (folder,) = folder.iterdir()
    install = [python, "-m", "pip", "install", "-q", "-r", "requirements.txt"]
    subprocess.run(install, cwd=folder, check=True)
    return folder


def test_the_archive_is_packed_again_if_a_comment_in_its_code_changes(deployed):
    assert deployed.stale(ARCHIVE) == {}
    for module, expected in (("runtime/inference", {"deploy": 1}), ("data/statistics", {})):
        path = deployed.folder / f"scripts/detmake/{module}.py"
        text = path.read_text()
        path.write_text(f"# A comment.\n{text}")
        assert deployed.stale(ARCHIVE) == expected
        path.write_text(text)


def start(python, folder, *arguments) -> subprocess.Popen:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.Popen(
        [python, folder / "demo.py", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A shell lets what it runs in the background ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def run_demo(python, folder, *arguments) -> tuple[int, str]:
    process = start(python, folder, *arguments)
    output, _ = process.communicate(timeout=120)
    assert "Traceback" not in output
    return process.returncode, output


def predictions(folder: Path) -> dict[str, np.ndarray]:
    """By file name: an array with category, box and score of each detection."""
    coco = COCO(folder / "images.json")
    results = coco.loadRes(str(folder / "predictions.json"))
    return {
        image["file_name"]: np.array(
            [
                [entry["category_id"], *entry["bbox"], entry["score"]]
                for entry in results.imgToAnns[image["id"]]
            ]
        )
        for image in coco.dataset["images"]
    }


def test_the_archive_is_complete(deployed, unpacked):
    assert unpacked.name == "pot"
    names = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    assert {"README.md", "LICENSE", "NOTICE", "demo.py", "model/openvino.bin"} <= names
    modules = {path.removeprefix("detmake/") for path in names if path.startswith("detmake/")}
    assert {"runtime/inference.py", "runtime/demo.py"} <= modules
    packages = {module.split("/")[0] for module in modules if "/" in module}
    assert packages == {"runtime", "evaluation", "data"}
    packed = json.loads((unpacked / "model/performance.json").read_text())
    built = deployed.json("results/pot/performance.json")
    assert packed == {key: value for key, value in built.items() if key != "annotations"}
    files = {*artifacts.MODEL_FILES.values(), "performance.json"}
    assert {Path(name).name for name in names if name.startswith("model/")} == files
    for name in ("README.md", "NOTICE", "MODEL_CARD.md"):
        assert not re.search(r"\$\w", (unpacked / name).read_text())


def test_the_notice_has_the_license_of_each_requirement(unpacked):
    notice = (unpacked / "NOTICE").read_text()
    for name in ("requirements.txt", "requirements-verify.txt"):
        section = notice.split(f"Software that {name} installs")[1].split("\n\n")[0]
        listed = {line.split(maxsplit=1)[0] for line in section.splitlines()[1:]}
        required = (unpacked / name).read_text().splitlines()
        assert listed == {line.split("==")[0] for line in required if "==" in line}


def test_the_archive_does_not_say_where_the_dataset_was(deployed, unpacked):
    annotations = deployed.json("results/pot/performance.json")["annotations"]
    for path in filter(Path.is_file, unpacked.rglob("*")):
        content = path.read_bytes()
        assert annotations.encode() not in content, path
        assert str(deployed.folder).encode() not in content, path


def test_the_model_card_says_what_the_build_knows(deployed, unpacked):
    card = (unpacked / "MODEL_CARD.md").read_text()
    performance = deployed.json("results/pot/performance.json")
    rows = {
        cells[1].strip(): [cell.strip() for cell in cells[2:-1]]
        for cells in (
            re.split(r"(?<!\\)\|", line) for line in card.splitlines() if line.startswith("| ")
        )
    }
    for subset in ("train", "val", "test"):
        coco = deployed.json(f"results/dataset/{subset}.json")
        assert rows[subset][:2] == [str(len(coco[key])) for key in ("images", "annotations")]
    for key, name in (("f-measure", "F-measure"), ("mAP50", "mAP at IoU 0.5")):
        low, high = map(float, rows[name][1].split(" to "))
        assert rows[name][0] == f"{performance[key]:.3f}"
        assert low - 5e-4 <= performance[key] <= high + 5e-4
    for name, values in performance["per_class"].items():
        assert rows[escaped(name)][0] == str(values["ground_truths"])
    assert "Its training started from random weights." in card
    assert "declare these licenses of the data: CC BY 4.0" in card
    assert str(deployed.folder) not in card


def test_the_archive_needs_no_training_library(python, unpacked):
    listed = [python, "-m", "pip", "list", "--format", "json"]
    packages = json.loads(subprocess.run(listed, capture_output=True, check=True).stdout)
    assert {package["name"] for package in packages} - {"pip", "setuptools"} == {
        "numpy",
        "opencv-python-headless",
        "openvino",
        "openvino-telemetry",
        "pillow",
    }


def test_the_archive_finds_what_the_build_finds(deployed, python, unpacked, tmp_path):
    images = deployed.folder / "data/test"
    code, _ = run_demo(python, unpacked, images, "--output", tmp_path / "out")
    assert code == 0
    found, expected = predictions(tmp_path / "out"), predictions(deployed.folder / "results/demo")
    assert found.keys() == expected.keys()
    for name, boxes in found.items():
        np.testing.assert_allclose(boxes, expected[name], atol=1e-3)
    assert sum(map(len, found.values())) > 100


def test_predictions_of_the_demo_have_the_map_of_the_evaluation(deployed):
    """pycocotools compares them with the annotations of the dataset."""
    from pycocotools.cocoeval import COCOeval

    truth = COCO(deployed.folder / "results/dataset/test.json")
    results = truth.loadRes(str(deployed.folder / "results/demo/predictions.json"))
    evaluation = COCOeval(truth, results, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    performance = deployed.json("results/pot/performance.json")
    assert evaluation.stats[0] == pytest.approx(performance["mAP"], abs=1e-4)
    names = {path.name for path in (deployed.folder / "results/demo").iterdir()}
    assert {"contact_sheet.jpg", "image 0.jpg"} <= names


def test_the_example_in_the_readme_of_the_archive_runs(deployed, python, unpacked, tmp_path):
    text = (unpacked / "README.md").read_text()
    example = text.split("```python\n")[1].split("```")[0]
    image = deployed.folder / "data/test/image 0.png"
    code = f"import sys\nsys.path.insert(0, '.')\n{example}".replace("image.jpg", str(image))
    subprocess.run([python, "-c", code], cwd=unpacked, check=True)


def test_the_archive_measures_its_speed(python, unpacked, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((60, 80, 3), np.uint8))
    copy = tmp_path / "copy"
    shutil.copytree(unpacked, copy)
    module = copy / "detmake/runtime/speed.py"
    module.write_text(module.read_text().replace("ROUNDS = 8", "ROUNDS = 1"))
    code, output = run_demo(
        *(python, copy, tmp_path / "a.png", "--benchmark"),
        *("--device", "AUTO", "--model", "model", "--model", "model/../model"),
    )
    assert code == 0
    assert "the first has 80×60 pixels" in output
    assert f"CPU: {figures.cpu()['cpu']}; instructions for int8: " in output
    rows = [line.split(maxsplit=3) for line in output.splitlines() if line.endswith(", on CPU")]
    assert [row[3].split(",")[0] for row in rows] == ["model", "model/../model"]
    for latency, slow, throughput in (map(float, row[:3]) for row in rows):
        assert 0 < latency <= slow
        assert throughput > 0


def test_the_archive_measures_what_the_build_measured(deployed, unpacked):
    """With the user's annotations; these packages are no requirement of the archive."""
    annotations = deployed.folder / "data/test/_annotations.coco.json"
    code, output = run_demo(sys.executable, unpacked, "--verify", annotations)
    assert code == 0
    performance = deployed.json("results/pot/performance.json")
    for key, name in (("f-measure", "F-measure"), ("mAP50", "mAP at IoU 0.5"), ("mAP", "mAP")):
        (line,) = (line for line in output.splitlines() if line[:16].strip() == name)
        build, here, change = map(float, line.removeprefix(name).split())
        assert build == here == pytest.approx(performance[key], abs=5e-4)
        assert change == 0
    assert output.endswith("\nVerified.\n")
    others = deployed.folder / "data/valid/_annotations.coco.json"
    code, output = run_demo(sys.executable, unpacked, "--verify", others)
    assert code == 0
    assert output.endswith("as the build packed them. The accuracy was not judged.\n")
    assert "Verified." not in output


def test_figures_that_are_missing_are_named_before_anything_is_measured(
    deployed, unpacked, tmp_path
):
    model = shutil.copytree(unpacked / "model", tmp_path / "model")
    file = model / "performance.json"
    file.write_text(json.dumps({"sha256": json.loads(file.read_text())["sha256"]}))
    annotations = deployed.folder / "data/test/_annotations.coco.json"
    arguments = ["--model", model, "--verify", annotations]
    code, output = run_demo(sys.executable, unpacked, *arguments)
    assert code == 2
    assert f"{file}: expected the build's figures" in output


def test_verification_names_what_was_changed_and_what_it_needs(python, unpacked, tmp_path):
    assert run_demo(python, unpacked, "--verify")[0] == 0
    code, output = run_demo(python, unpacked, "--verify", "annotations.json")
    assert code == 2
    assert "pip install -r requirements-verify.txt" in output
    copy = tmp_path / "copy"
    shutil.copytree(unpacked, copy)
    with (copy / "model/openvino.bin").open("r+b") as weights:
        weights.write(b"other")
    code, output = run_demo(python, copy, "--verify")
    assert code == 1
    assert "model/openvino.bin: missing, or not as it was packed" in output
    assert "speaks of another model" in output
    named = run_demo(python, copy, "--verify", "--model", copy / "model/../model")[1]
    assert "model/openvino.bin: missing, or not as it was packed" in named
    (copy / "SHA256SUMS").write_text("")
    code, output = run_demo(python, copy, "--verify")
    assert code == 2
    assert "SHA256SUMS: expected the digests of the archive, found none for demo.py" in output


def test_an_unreadable_file_is_skipped_and_the_exit_code_is_1(deployed, python, unpacked, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "broken.png").write_text("no image")
    (folder / "good.png").write_bytes((deployed.folder / "data/test/image 0.png").read_bytes())
    code, output = run_demo(python, unpacked, folder, "--output", tmp_path / "out")
    assert code == 1
    assert "broken.png: expected an image file" in output
    assert "1 frames, 1 skipped" in output
    assert (tmp_path / "out/good.jpg").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["missing.mp4"], "missing.mp4: expected an image, a video"),
        (["model", "--model", "nowhere"], "nowhere: expected a model folder"),
        (["model", "--show"], "--show: expected a display"),
        (["model", "--device", "NPU"], "found NPU, but OpenVINO finds only CPU"),
        (["model", "--threads", "-1"], "--threads: expected a number above 0, found -1"),
        ([], "expected a source, --benchmark or --verify"),
    ],
)
def test_wrong_arguments_end_with_a_short_message(python, unpacked, arguments, message):
    code, output = run_demo(python, unpacked, *arguments)
    assert code == 2
    assert message in output
    assert len(output.splitlines()) < 12  # argparse adds its usage


def test_ctrl_c_ends_a_measurement_without_a_traceback(python, unpacked):
    process = start(python, unpacked, "--benchmark")
    while not process.stdout.readline().startswith("Images:"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in output


@pytest.mark.slow
def test_ctrl_c_leaves_a_playable_video(python, unpacked, tmp_path):
    size = (160, 120)
    codec = cv2.VideoWriter_fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(tmp_path / "in.mp4"), codec, 25, size)
    for value in range(20_000):
        writer.write(np.full((size[1], size[0], 3), value % 256, np.uint8))
    writer.release()
    process = start(python, unpacked, tmp_path / "in.mp4", "--output", tmp_path / "out")
    scratch = tmp_path / "out"
    deadline = time.monotonic() + 60
    while not any(file.stat().st_size > 50_000 for file in scratch.rglob("video.mp4")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    video = cv2.VideoCapture(str(tmp_path / "out/video.mp4"))
    frames = 0
    while video.read()[0]:
        frames += 1
    assert 0 < frames < 20_000
    assert frames == int(output.split(" frames, 0 skipped")[0].split()[-1])


# The rules


def test_a_second_call_has_nothing_to_do(deployed):
    assert "Nothing to be done" in deployed.snakemake(ARCHIVE, "results/demo")


@pytest.mark.slow
def test_the_demo_draws_into_a_video_that_the_configuration_names(deployed, tmp_path):
    project = deployed.copy(tmp_path / "project")
    writer = cv2.VideoWriter(
        str(project.folder / "in.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (160, 120)
    )
    for _ in range(15):
        writer.write(np.zeros((120, 160, 3), np.uint8))
    writer.release()
    project.configure(demo={"source": "in.avi", "model": "openvino"})
    project.snakemake("results/demo")
    written = {path.name for path in (project.folder / "results/demo").glob("[!.]*")}
    assert written == {"video.mp4", "video.json"}
    assert "15 frames, 0 skipped" in (project.folder / "results/logs/demo.log").read_text()


def test_a_missing_source_is_refused_and_the_earlier_demo_is_kept(deployed, tmp_path):
    project = deployed.copy(tmp_path / "project")
    project.configure(demo={"source": "nowhere.mp4"})
    output = project.snakemake("results/demo", fails=True)
    assert "nowhere.mp4: expected an image, a video" in output
    assert (project.folder / "results/demo/predictions.json").exists()
