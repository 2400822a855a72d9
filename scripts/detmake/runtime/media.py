"""Read frames from images, videos and cameras, and write a video."""

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np

from detmake.errors import InputError
from detmake.image_files import is_image
from detmake.runtime import demo_files
from detmake.runtime.images import read_image

#: Frames per second of a video that does not state its own, or states ticks of a clock, such as
#: 90000, above any that a camera takes.
_USUAL_RATE, _HIGHEST_RATE = 25.0, 1000.0
_TRIED = 4  # writes whose time is measured


def open_source(source: str, seconds: float | None = None) -> "Images | Video":
    """Open images, a video or a camera (`demo_files.files_of`).

    Args:
        source: the path of an image, a video or a folder, a pattern, or the index of a camera.
        seconds: how long to read a camera; None: until the caller stops iterating.

    Raises:
        InputError: there is no such source, or it cannot be opened.
    """
    if demo_files.is_camera(source):
        return Video(int(source), seconds)
    files = demo_files.files_of(source)
    return Images(files) if is_image(files[0]) else Video(files[0])


class Images:
    """Frames of image files; `skipped` has a message for each that could not be read so far."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files
        self.skipped: list[str] = []

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield position and image, (H, W, 3) uint8, BGR, of each readable file."""
        for position, file in enumerate(self.files):
            try:
                yield position, read_image(file)
            except InputError as error:
                self.skipped.append(str(error))


class Video:
    """Frames of a video file or of a camera.

    Args:
        source: the file, or the index of a camera.
        seconds: how long to read a camera; None: until the caller stops iterating.

    Attributes:
        files: the file; empty for a camera.
        rate: frames per second, at most 1000; 25 if the source states none, or more.
        skipped: one message per frame, or rest of the video, that could not be read so far.

    Raises:
        InputError: the source cannot be opened.
    """

    def __init__(self, source: Path | int, seconds: float | None = None) -> None:
        self._name, self._is_file = str(source), isinstance(source, Path)
        self.files = [source] if self._is_file else []
        self._seconds = None if self._is_file else seconds
        if self._is_file and not source.is_file():
            raise InputError(f"{source}: expected a video, found no such file.")
        self._capture = cv2.VideoCapture(str(source) if self._is_file else source)
        if not self._capture.isOpened():
            what = f"{source}: expected a video" if self._is_file else f"camera {source}"
            remedy = "Is it whole?" if self._is_file else "Is it connected, and free?"
            raise InputError(f"{what}: OpenCV cannot open it. {remedy}")
        rate = self._capture.get(cv2.CAP_PROP_FPS)  # perhaps 0, negative or nan
        self.rate = rate if 0 < rate <= _HIGHEST_RATE else _USUAL_RATE
        self.skipped: list[str] = []

    def __len__(self) -> int:
        """Return the number of frames that a file declares; 0 if unknown."""
        return max(int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0) if self._is_file else 0

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield position and frame, (H, W, 3) uint8, BGR, of each readable frame."""
        declared, started = len(self), perf_counter()
        for position in count():
            if self._seconds is not None and perf_counter() - started >= self._seconds:
                return
            if not self._capture.grab():
                # The rest of a damaged file; a declared length may be off by a frame or two.
                if position < declared - 2 or not self._is_file:
                    missing = f"{declared - position} frames" if self._is_file else "the stream"
                    self.skipped.append(f"{self._name}: {missing} from frame {position} on")
                return
            decoded, frame = self._capture.retrieve()
            if decoded:
                yield position, frame
            else:
                self.skipped.append(f"{self._name}: frame {position} cannot be decoded")


def seconds_to_write(frame: np.ndarray, path: Path) -> float:
    """Return how long it takes to append a frame to a video, on average of some copies of it.

    Args:
        frame: (H, W, 3) uint8, BGR.
        path: a file that is written for it, and removed.
    """
    writer = VideoWriter(path, _USUAL_RATE)
    writer.write(frame)  # opens the file, too
    started = perf_counter()
    for _ in range(_TRIED):
        writer.write(frame)
    seconds = (perf_counter() - started) / _TRIED
    writer.close()
    path.unlink()
    return seconds


class VideoWriter:
    """Writes an MP4 video of a rate in frames per second; it is playable once closed.

    Attributes:
        frames: how many were written.
        rate: the rate, rounded where MPEG-4 needs that.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self._path, self.frames = path, 0
        # OpenCV makes it a fraction with up to three decimals. Its numerator must be below 65,536.
        self.rate = rate if rate < 65 else round(rate, 1)
        self._writer: cv2.VideoWriter | None = None

    def write(self, frame: np.ndarray) -> None:
        """Append a frame, (H, W, 3) uint8, BGR, of the same size as the first.

        Raises:
            InputError: OpenCV cannot write videos here.
        """
        if self._writer is None:
            size = frame.shape[1::-1]
            codec = cv2.VideoWriter_fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._path), codec, self.rate, size)
            if not self._writer.isOpened():
                raise InputError(
                    f"{self._path}: this build of OpenCV cannot write MP4 videos of {self.rate:g} "
                    "frames per second."
                )
        self._writer.write(frame)
        self.frames += 1

    def close(self) -> None:
        """Finish the file.

        Raises:
            InputError: the file lacks frames. OpenCV does not say when it cannot write one.
        """
        if self._writer is None:
            return
        self._writer.release()
        written = int(cv2.VideoCapture(str(self._path)).get(cv2.CAP_PROP_FRAME_COUNT))
        if written < self.frames:
            raise InputError(
                f"{self._path}: has {written} of {self.frames} frames. Is the disk full?"
            )
