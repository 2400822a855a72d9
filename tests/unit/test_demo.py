"""The demo: it reads images and videos, skips what is unreadable, and writes pictures."""

import json
import os
import resource
import time
from pathlib import Path
from threading import Event
from unittest.mock import Mock

import cv2
import known_model
import numpy as np
import pytest
from pycocotools.coco import COCO

from detmake.errors import InputError
from detmake.runtime import demo, media
from detmake.runtime.inference import OpenvinoDetector

SIZE = (64, 48)


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    folder = known_model.write(tmp_path_factory.mktemp("model"))
    return OpenvinoDetector(folder, 1, "THROUGHPUT")


def image(value: int) -> np.ndarray:
    """An image whose detections have the scores value / 255, 0.2 and 0.8."""
    return np.full((SIZE[1], SIZE[0], 3), [value, 51, 204], np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Two images, a text file that is named like an image, and a text file."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name, value in {"a.png": 10, "c.png": 250}.items():
        cv2.imwrite(str(folder / name), image(value))
    (folder / "b.jpg").write_text("no image")
    (folder / "notes.txt").write_text("no image either")
    return folder


def make_video(path: Path, frames: int) -> Path:
    writer = media.VideoWriter(path, 10)
    for number in range(frames):
        writer.write(image(number))
    writer.close()
    return path


def count_frames(path: Path) -> int:
    return sum(1 for _ in media.Video(path))


# Sources


def test_a_folder_is_read_and_unreadable_images_are_skipped(folder):
    source = media.open_source(str(folder))
    assert [file.name for file in source.files] == ["a.png", "b.jpg", "c.png"]
    assert [position for position, _ in source] == [0, 2]
    (skipped,) = source.skipped
    assert "b.jpg: expected an image file" in skipped


def test_a_pattern_finds_files_in_all_folders(folder):
    source = media.open_source(f"{folder.parent}/**/*.png")
    assert [file.name for file in source.files] == ["a.png", "c.png"]


def test_a_folder_whose_name_is_a_number_is_no_camera(folder, monkeypatch):
    folder.rename(folder.with_name("0001"))
    monkeypatch.chdir(folder.parent)
    assert len(media.open_source("0001").files) == 3


def test_a_file_whose_name_looks_like_a_pattern_is_read(folder):
    (folder / "a.png").rename(folder / "a[1].png")
    source = media.open_source(str(folder / "a[1].png"))
    assert [file.name for file in source.files] == ["a[1].png"]


@pytest.mark.parametrize("name", ["missing.png", "nothing/*.png", "missing.mp4"])
def test_a_source_that_does_not_exist_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=f"{name[:7]}.*: expected .* found none"):
        media.open_source(str(tmp_path / name))


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected an image in it"):
        media.open_source(str(tmp_path))


def test_a_file_that_is_no_video_is_refused(folder):
    with pytest.raises(InputError, match=r"notes.txt: expected a video: OpenCV cannot open it"):
        media.open_source(str(folder / "notes.txt"))


def test_a_missing_camera_is_refused():
    with pytest.raises(InputError, match=r"camera 63: OpenCV cannot open it. Is it connected"):
        media.open_source("63")


def test_a_video_gives_all_its_frames(tmp_path):
    source = media.open_source(str(make_video(tmp_path / "in.mp4", 12)))
    assert len(source) == 12
    assert source.rate == 10
    positions, frames = zip(*source, strict=True)
    assert positions == tuple(range(12))
    assert all(frame.shape == (SIZE[1], SIZE[0], 3) for frame in frames)
    assert source.skipped == []


@pytest.mark.parametrize("stated", [0, -1, float("nan"), float("inf"), 90_000])
def test_a_rate_that_no_camera_has_is_replaced_by_the_usual_one(tmp_path, monkeypatch, stated):
    (tmp_path / "in.mp4").touch()
    capture = Mock(**{"get.return_value": stated})
    monkeypatch.setattr(cv2, "VideoCapture", lambda source: capture)
    assert media.open_source(str(tmp_path / "in.mp4")).rate == 25


def test_missing_frames_of_a_truncated_video_are_reported(tmp_path):
    """An AVI file has its index at the end, so that it can be read up to the cut."""
    path = tmp_path / "in.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, SIZE)
    noise = np.random.default_rng(0)
    for _ in range(40):
        writer.write(noise.integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8))
    writer.release()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    source = media.open_source(str(path))
    read = sum(1 for _ in source)
    assert 0 < read < 40
    assert len(source.skipped) > 0
    assert "in.avi: " in source.skipped[0]


# Output


def test_images_are_drawn_and_predictions_written_in_coco_format(detector, folder, tmp_path):
    out = tmp_path / "out"
    source = media.open_source(str(folder))
    outcome = demo.run(detector, source, out, 0.5)
    assert (outcome.frames, len(outcome.skipped), outcome.interrupted) == (2, 1, False)
    assert sorted(path.name for path in out.iterdir()) == [
        "a.jpg",
        "c.jpg",
        "contact_sheet.jpg",
        "images.json",
        "predictions.json",
    ]
    truth = COCO(out / "images.json")
    results = truth.loadRes(str(out / "predictions.json"))
    assert [(entry["id"], entry["file_name"]) for entry in truth.dataset["images"]] == [
        (1, "a.png"),
        (3, "c.png"),
    ]
    assert [entry["name"] for entry in truth.dataset["categories"]] == known_model.LABELS
    found = results.loadAnns(results.getAnnIds(imgIds=[1]))
    assert [entry["category_id"] for entry in found] == (known_model.CLASSES + 1).tolist()
    assert found[1]["bbox"] == [16, 24, 32, 24]  # of 64×48: xyxy 0.25, 0.5, 0.75, 1
    np.testing.assert_allclose([entry["score"] for entry in found], [10 / 255, 0.2, 0.8], 1e-6)


def test_predictions_keep_the_image_ids_of_a_dataset(detector, folder, tmp_path):
    source = media.Images([folder / "a.png", folder / "c.png"])
    ids = dict(zip(source.files, [70, 8], strict=True))
    demo.run(detector, source, tmp_path / "out", 0.5, ids)
    predictions = json.loads((tmp_path / "out/predictions.json").read_text())
    assert [entry["image_id"] for entry in predictions] == [70, 70, 70, 8, 8, 8]


def test_images_of_the_same_name_get_different_pictures(detector, folder, tmp_path):
    other = tmp_path / "images/sub"
    other.mkdir()
    cv2.imwrite(str(other / "a.png"), image(0))
    demo.run(detector, media.Images([folder / "a.png", other / "a.png"]), tmp_path / "out", 0.5)
    assert {"a.jpg", "a_2.jpg"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_a_file_whose_name_is_not_unicode(detector, tmp_path):
    file = tmp_path / os.fsdecode(b"caf\xe9.png")
    cv2.imwrite(str(tmp_path / "a.png"), image(0))
    os.rename(tmp_path / "a.png", file)
    demo.run(detector, media.Images([file]), tmp_path / "out", 0.5)
    (entry,) = json.loads((tmp_path / "out/images.json").read_text())["images"]
    assert entry["file_name"] == r"caf\udce9.png"


def test_no_picture_replaces_another(detector, tmp_path):
    files = []
    for name in ("a.png", "sub/A.png", "a_2.png", "contact_sheet.png"):
        files.append(tmp_path / "images" / name)
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(files[-1]), image(0))
    demo.run(detector, media.Images(files), tmp_path / "out", 0.5)
    pictures = {path.stem.casefold() for path in (tmp_path / "out").glob("*.jpg")}
    assert len(pictures) == 5  # with the contact sheet


@pytest.mark.parametrize("output", ["images", "images/../images", "link"])
def test_the_folder_of_the_source_is_no_output(detector, folder, tmp_path, output):
    (tmp_path / "link").symlink_to(folder)
    before = sorted(folder.iterdir())
    with pytest.raises(InputError, match=r"found a\.png, a file of the source"):
        demo.run(detector, media.open_source(str(folder)), tmp_path / output, 0.5)
    assert sorted(folder.iterdir()) == before


def test_a_file_is_no_output(detector, folder):
    with pytest.raises(InputError, match=r"notes\.txt: cannot be made a folder"):
        demo.run(detector, media.open_source(str(folder)), folder / "notes.txt", 0.5)
    assert (folder / "notes.txt").read_text() == "no image either"


def test_files_that_no_demo_wrote_are_not_replaced(detector, folder, tmp_path):
    out = tmp_path / "pictures"
    out.mkdir()
    before = {"a.jpg": "of the user", "predictions.json": "of the build"}
    for name, content in before.items():
        (out / name).write_text(content)
    with pytest.raises(InputError, match=r"pictures: found a\.jpg, which no demo wrote"):
        demo.run(detector, media.open_source(str(folder)), out, 0.5)
    assert {file.name: file.read_text() for file in out.iterdir()} == before


@pytest.mark.parametrize("earlier", [False, True], ids=["alone", "beside pictures of a demo"])
def test_a_video_that_no_demo_wrote_is_not_replaced(detector, folder, tmp_path, earlier):
    out = tmp_path / "out"
    if earlier:
        demo.run(detector, media.open_source(str(folder)), out, 0.5)
    out.mkdir(exist_ok=True)
    (out / "video.mp4").write_text("of the user")
    video = make_video(tmp_path / "in.mp4", 2)
    with pytest.raises(InputError, match=r"out: found video\.mp4, which no demo wrote"):
        demo.run(detector, media.open_source(str(video)), out, 0.5)
    assert (out / "video.mp4").read_text() == "of the user"


def test_a_demo_replaces_an_earlier_one(detector, folder, tmp_path):
    out, video = tmp_path / "out", make_video(tmp_path / "in.mp4", 2)
    for source in (video, video, folder, folder, video):
        demo.run(detector, media.open_source(str(source)), out, 0.5)
    assert {"a.jpg", "predictions.json", "video.mp4"} <= {file.name for file in out.iterdir()}


def test_unreadable_images_leave_no_gap_in_the_contact_sheet(detector, folder, tmp_path):
    """Of 50 files, a tile is made of every third picture; every third file is unreadable."""
    (folder / "b.png").symlink_to("a.png")
    files = [folder / ("b.jpg", "a.png", "b.png")[k % 3] for k in range(50)]
    outcome = demo.run(detector, media.Images(files), tmp_path / "out", 0.5)
    assert (outcome.frames, len(outcome.skipped)) == (33, 17)
    sheet = cv2.imread(str(tmp_path / "out/contact_sheet.jpg"))
    assert sheet.shape == (3 * 324, 4 * 400, 3)  # 11 tiles


@pytest.mark.parametrize("threshold", [-0.1, 50, float("nan")])
def test_a_threshold_that_is_no_score_is_refused(detector, folder, tmp_path, threshold):
    with pytest.raises(InputError, match="Expected a number from 0 to 1"):
        demo.run(detector, media.open_source(str(folder)), tmp_path / "out", threshold)


def test_an_image_of_16_bits_is_skipped(folder):
    cv2.imwrite(str(folder / "d.png"), np.full((48, 64), 4095, np.uint16))
    source = media.open_source(str(folder))
    assert [position for position, _ in source] == [0, 2]
    assert "d.png: expected 8 bits a channel, found uint16" in source.skipped[1]


def test_a_video_that_the_disk_did_not_take_is_refused(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"has \d+ of 99 frames. Is the disk full\?"):
            make_video(tmp_path / "out.mp4", 99)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("output", ["links", "images"])
def test_the_folder_of_a_linked_image_is_no_output(detector, folder, tmp_path, output):
    (tmp_path / "links").mkdir()
    link = tmp_path / "links/a.png"
    link.symlink_to(folder / "a.png")
    with pytest.raises(InputError, match=r"found a\.png, a file of the source"):
        demo.run(detector, media.Images([link]), tmp_path / output, 0.5)


def test_only_confident_detections_are_drawn(detector, folder, tmp_path):
    """Box 0, the left half of the image, has the scores 0.04 and 0.98."""
    shown = []
    source = media.Images([folder / "a.png", folder / "c.png"])
    demo.run(detector, source, tmp_path / "out", 0.5, show=shown.append)
    middle = [picture[100:-100, picture.shape[1] // 2] for picture in shown]
    plain = np.int64([[10, 51, 204], [250, 51, 204]])
    differs = [
        np.abs(column.astype(int) - colour).max() > 30
        for column, colour in zip(middle, plain, strict=True)
    ]
    assert differs == [False, True]


def test_every_frame_of_a_video_is_drawn(detector, tmp_path):
    source = media.open_source(str(make_video(tmp_path / "in.mp4", 20)))
    outcome = demo.run(detector, source, tmp_path / "out", 0.5)
    assert outcome.frames == 20
    written = media.Video(tmp_path / "out/video.mp4")
    assert written.rate == 10
    frames = [frame for _, frame in written]
    assert len(frames) == 20
    assert frames[0].shape[:2] == (672, 896)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"video.mp4", "video.json"}
    record = json.loads((tmp_path / "out/video.json").read_text())
    assert record == {"frames": 20, "frames_per_second": 10}


def test_a_recording_of_a_camera_is_as_long_as_it_took(detector, tmp_path):
    """While the detector is busy, a camera drops frames, and the last one stays."""
    source = media.open_source(str(make_video(tmp_path / "in.mp4", 5)))
    source.files = []  # as of a camera
    demo.run(detector, source, tmp_path / "out", 0.5, show=lambda _: time.sleep(0.3))
    record = json.loads((tmp_path / "out/video.json").read_text())
    assert 13 <= record["frames"] <= 40  # 1.2 s and the detector's time, at 10 frames a second
    assert count_frames(tmp_path / "out/video.mp4") == record["frames"]


def test_a_slow_encoder_does_not_keep_the_detector_waiting_longer_and_longer(
    detector, tmp_path, monkeypatch
):
    """It cannot write the camera's 10 frames a second, so the recording has fewer."""
    source, shown = media.open_source(str(make_video(tmp_path / "in.mp4", 16))), []
    source.files = []  # as of a camera
    write = media.VideoWriter.write

    def write_slowly(writer, frame):
        time.sleep(0.2)
        write(writer, frame)

    monkeypatch.setattr(media.VideoWriter, "write", write_slowly)
    demo.run(detector, source, tmp_path / "out", 0.5, show=lambda _: shown.append(time.time()))
    assert np.diff(shown).max() < 1.5
    record = json.loads((tmp_path / "out/video.json").read_text())
    assert count_frames(tmp_path / "out/video.mp4") == record["frames"]
    assert record["frames_per_second"] < 3
    seconds = record["frames"] / record["frames_per_second"]
    assert seconds == pytest.approx(shown[-1] - shown[0], abs=0.9)


@pytest.mark.parametrize("rate", [29.97, 66.667, 120.0013, 211.222, 999.999])
def test_videos_of_any_rate_are_written(tmp_path, rate):
    writer = media.VideoWriter(tmp_path / "out.mp4", rate)
    writer.write(image(10))
    writer.close()
    assert media.Video(tmp_path / "out.mp4").rate == pytest.approx(rate, rel=0.001)


def test_stopping_leaves_a_playable_video(detector, tmp_path):
    source = media.open_source(str(make_video(tmp_path / "in.mp4", 60)))
    shown, stop = [], Event()

    def show(picture):
        shown.append(picture)
        if len(shown) == 25:
            stop.set()

    outcome = demo.run(detector, source, tmp_path / "out", 0.5, show=show, stop=stop)
    assert outcome.interrupted
    assert count_frames(tmp_path / "out/video.mp4") == 25


def test_a_failure_writes_nothing(detector, folder, tmp_path):
    def show(picture):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        demo.run(detector, media.Images([folder / "a.png"]), tmp_path / "out", 0.5, show=show)
    assert list((tmp_path / "out").iterdir()) == []
