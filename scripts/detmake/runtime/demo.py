"""The demo: run a detector on images or video, write annotated pictures and predictions."""

import json
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain, count, tee
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import Any

import numpy as np

from detmake.artifacts import staged, write_json
from detmake.detections import Detections, Detector
from detmake.errors import InputError, printable
from detmake.runtime import drawing
from detmake.runtime.media import Images, Video, VideoWriter, seconds_to_write

_IMAGES, _PREDICTIONS = "images.json", "predictions.json"
_VIDEO, _RECORD = "video.mp4", "video.json"
_SHEET_TILES = 24
_RATE_FRAMES = 30  # over which frames per second are averaged
_WRITING = 0.5  # share of the time for which a recording of a camera may keep the detector waiting


@dataclass(frozen=True)
class Outcome:
    """Summary of a demo.

    Attributes:
        frames: number of frames (or images) processed.
        images_per_second: speed of the whole demo, including reading, drawing and writing.
        skipped: one message per image or frame that could not be read.
        interrupted: whether it was stopped early; the frames processed until then are written.
    """

    frames: int
    images_per_second: float
    skipped: list[str]
    interrupted: bool


def run(
    detector: Detector,
    source: Images | Video,
    folder: Path,
    confidence_threshold: float,
    ids: Mapping[Path, int] | None = None,
    show: Callable[[np.ndarray], None] | None = None,
    stop: Event | None = None,
) -> Outcome:
    """Run a detector on all frames of a source and write the results.

    Images give a picture each with boxes, labels and scores, and `contact_sheet.jpg` if there are
    several; `predictions.json`, all detections in COCO's results format; and `images.json`, the
    COCO file without annotations that the predictions refer to. A video gives `video.mp4`, and
    `video.json` with its `frames` and `frames_per_second`. By these JSON files, a later demo knows
    that it may replace the others.

    Args:
        detector: the detector; it should be compiled for throughput.
        source: images or a video.
        folder: receives all files when the demo ends.
        confidence_threshold: detections below it are not drawn, in [0, 1].
        ids: COCO ids of the image files; None numbers them from 1.
        show: called with each picture, (H, W, 3) uint8, BGR.
        stop: once set, ends the demo before the next frame.

    Raises:
        InputError: the folder holds files of the source, or other files that no demo wrote, which
            its files could replace; it cannot be made; the threshold is not from 0 to 1.
    """
    if not 0 <= confidence_threshold <= 1:
        raise InputError(f"The threshold is {confidence_threshold}. Expected a number from 0 to 1.")
    held = [
        file
        for file in source.files  # perhaps a link to one there
        if folder.resolve() in (file.parent.resolve(), file.resolve().parent)
    ]
    if held:
        raise InputError(
            f"{folder}: found {held[0].name}, a file of the source, which a picture could replace. "
            "Choose another output folder."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be made a folder ({error.strerror}). Choose another output folder."
        ) from error
    others = {file.name for file in folder.iterdir() if not file.name.startswith(".")}
    if {_IMAGES, _PREDICTIONS} <= others:
        others &= {_VIDEO, _RECORD}  # pictures may have any other name
    if _RECORD in others:
        others -= {_VIDEO, _RECORD}
    if others:
        raise InputError(
            f"{folder}: found {min(others)}, which no demo wrote, and which this one could "
            "replace. Choose a new output folder, or that of an earlier demo."
        )
    started, stop = perf_counter(), stop or Event()
    progress = _Progress(len(source))
    with staged(folder) as scratch:
        if isinstance(source, Video):
            output: _Pictures | _Recording = _Recording(scratch, source, progress)
        else:
            output = _Pictures(scratch, source, detector.labels, ids)
        try:
            frames, taken = tee(source)  # the detector takes frames ahead
            stream = detector.stream(image for _, image in taken)
            for (position, image), found in zip(frames, stream, strict=True):
                if stop.is_set():
                    break
                drawn = found.select(found.scores >= confidence_threshold)
                progress.update()
                picture = drawing.draw(image, drawn, detector.labels)
                output.add(position, image, found, picture)
                if show is not None:
                    show(picture)
        finally:
            progress.close()
            output.close()
    speed = progress.frames / (perf_counter() - started)
    return Outcome(progress.frames, speed, source.skipped, stop.is_set())


class _Pictures:
    """Output for images."""

    def __init__(
        self, folder: Path, source: Images, labels: list[str], ids: Mapping[Path, int] | None
    ) -> None:
        self._folder, self._source, self._labels = folder, source, labels
        self._ids = ids or {file: number for number, file in enumerate(source.files, start=1)}
        self._every = max(1, -(-len(source) // _SHEET_TILES))
        self._tiles: list[np.ndarray] = []
        self._images: list[dict[str, Any]] = []
        self._predictions: list[dict[str, Any]] = []
        self._names = {"contact_sheet"}

    def add(self, position: int, image: np.ndarray, found: Detections, picture: np.ndarray) -> None:
        file = self._source.files[position]
        # Files of several folders may share a name, and case is ignored on some file systems.
        numbered = (f"{file.stem}_{number}" for number in count(2))
        name = next(n for n in chain([file.stem], numbered) if n.casefold() not in self._names)
        self._names.add(name.casefold())
        (self._folder / f"{name}.jpg").write_bytes(drawing.jpeg(picture))
        if len(self._images) % self._every == 0:
            self._tiles.append(drawing.tile(picture, file.name))
        height, width = image.shape[:2]
        name = printable(file.name)
        entry = {"id": self._ids[file], "file_name": name, "width": width, "height": height}
        self._images.append(entry)
        self._predictions += found.coco_results(self._ids[file])

    def close(self) -> None:
        if len(self._images) > 1:
            sheet = drawing.contact_sheet(self._tiles)
            (self._folder / "contact_sheet.jpg").write_bytes(drawing.jpeg(sheet))
        categories = [{"id": k, "name": name} for k, name in enumerate(self._labels, start=1)]
        content = {"images": self._images, "annotations": [], "categories": categories}
        write_json(self._folder / _IMAGES, content)
        (self._folder / _PREDICTIONS).write_text(json.dumps(self._predictions))


class _Recording:
    """Output for a video or a camera."""

    def __init__(self, folder: Path, source: Video, progress: "_Progress") -> None:
        self._folder, self._progress = folder, progress
        self._is_camera, self._started, self._written = not source.files, None, None
        self._writer = VideoWriter(folder / _VIDEO, source.rate)

    def add(self, position: int, image: np.ndarray, found: Detections, picture: np.ndarray) -> None:
        drawing.write_rate(picture, self._progress.rate)
        if not self._is_camera:
            self._writer.write(picture)
            return
        # A camera drops frames while the detector is busy, so that the last one stays. To write it
        # again takes time, too, in which more are dropped: record only as many as leave some.
        if self._started is None:
            writing = seconds_to_write(picture, self._folder / _VIDEO)
            rate = min(self._writer.rate, _WRITING / max(writing, 1e-9))
            self._writer = VideoWriter(self._folder / _VIDEO, rate)
            self._started = self._written = perf_counter()
        now, rate = perf_counter(), self._writer.rate
        due = 1 + round(rate * (now - self._started))
        # If writing got slower than it was, the recording gets shorter, and the detector goes on.
        most = self._writer.frames + 1 + round(rate * (now - self._written) / _WRITING)
        while self._writer.frames < min(due, most):
            self._writer.write(picture)
        self._written = perf_counter()

    def close(self) -> None:
        self._writer.close()
        if self._writer.frames:
            content = {"frames": self._writer.frames, "frames_per_second": self._writer.rate}
            write_json(self._folder / _RECORD, content)


class _Progress:
    """Progress: one line that updates in a terminal, a line every few seconds in a log."""

    def __init__(self, total: int) -> None:
        self._total, self._is_terminal = total, sys.stderr.isatty()
        self._interval = 0.2 if self._is_terminal else 10.0  # seconds
        self._times: deque[float] = deque([perf_counter()], maxlen=_RATE_FRAMES)
        self._printed, self.frames = perf_counter(), 0

    @property
    def rate(self) -> float:
        """Frames per second of the last frames."""
        return (len(self._times) - 1) / max(self._times[-1] - self._times[0], 1e-9)

    def update(self) -> None:
        self.frames += 1
        self._times.append(perf_counter())
        if self._times[-1] - self._printed >= self._interval:
            self._print("\r" if self._is_terminal else "\n")

    def close(self) -> None:
        if self.frames:
            self._print("\n")

    def _print(self, end: str) -> None:
        of = f" of {self._total}" if self._total else ""
        start = "\r" if self._is_terminal else ""
        line = f"{start}{self.frames}{of} frames, {self.rate:.1f} frames/s"
        print(line, end=end, file=sys.stderr, flush=True)
        self._printed = perf_counter()
