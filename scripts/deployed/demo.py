"""Detect objects in images, a video or the frames of a camera."""

import argparse
import signal
import sys
from pathlib import Path
from threading import Event

from detmake.errors import InputError
from detmake.runtime import demo, media
from detmake.runtime.inference import OpenvinoDetector
from detmake.runtime.window import Window


def main() -> int:
    """Run the demo, and return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Exit code: 0 for success; 1 if an unreadable file or frame was skipped; 2 for "
        "wrong input; 130 after Ctrl-C, which keeps the frames processed so far.",
    )
    here = Path(__file__).parent
    parser.add_argument(
        "source",
        help="an image, a folder of images, a pattern of images in quotes, a video, or the index "
        "of a camera",
    )
    parser.add_argument("--model", type=Path, default=here / "model", help="a model folder")
    parser.add_argument(
        "--output", type=Path, default=Path("demo"), help="a folder (default: demo)"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        help="lowest score to draw, 0 to 1 (default: the model's confidence threshold)",
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: OpenVINO decides)")
    parser.add_argument(
        "--seconds", type=float, help="how long to read a camera (default: until Ctrl-C)"
    )
    parser.add_argument("--show", action="store_true", help="show the pictures in a window")
    options = parser.parse_args()
    stop = Event()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    try:
        window = Window("demo") if options.show else None
        detector = OpenvinoDetector(options.model, options.threads, "THROUGHPUT")
        threshold = options.threshold
        outcome = demo.run(
            detector,
            media.open_source(options.source, options.seconds),
            options.output,
            detector.confidence_threshold if threshold is None else threshold,
            show=window and window.show,
            stop=stop,
        )
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    for line in outcome.skipped:
        print(f"Skipped: {line}", file=sys.stderr)
    skipped = len(outcome.skipped)
    print(
        f"{outcome.frames} frames, {skipped} skipped, {outcome.images_per_second:.1f} frames/s: "
        f"{options.output}"
    )
    if outcome.interrupted:
        return 130
    return 1 if skipped else 0


if __name__ == "__main__":
    sys.exit(main())
