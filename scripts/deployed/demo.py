"""Detect objects in images, a video or the frames of a camera; measure or verify the detector."""

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Event

import numpy as np

from detmake.artifacts import MODEL_FILES
from detmake.errors import InputError
from detmake.runtime import demo, figures, media, speed
from detmake.runtime.inference import OpenvinoDetector, device_name
from detmake.runtime.window import Window

HERE = Path(__file__).parent


def main() -> int:
    """Do what the command line asks for, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Exit code: 0 for success; 1 if an unreadable file or frame was skipped, or if "
        "--verify found something wrong; 2 for wrong input; 130 after Ctrl-C, which keeps the "
        "frames processed so far.",
    )
    parser.add_argument(
        "source",
        nargs="?",
        help="an image, a folder of images, a pattern of images in quotes, a video, or the index "
        "of a camera",
    )
    parser.add_argument(
        "--model",
        type=Path,
        action="append",
        help="a model folder (default: the archive's); --benchmark takes several",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("demo"), help="a folder (default: demo)"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        help="lowest score to draw, 0 to 1 (default: the model's confidence threshold)",
    )
    parser.add_argument(
        "--device",
        choices=["CPU", "GPU", "NPU", "AUTO"],
        default="CPU",
        help="OpenVINO's device that runs the model; AUTO chooses one (default: CPU)",
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: OpenVINO decides)")
    parser.add_argument(
        "--seconds", type=float, help="how long to read a camera (default: until Ctrl-C)"
    )
    parser.add_argument("--show", action="store_true", help="show the pictures in a window")
    others = parser.add_mutually_exclusive_group()
    others.add_argument(
        "--benchmark",
        action="store_true",
        help="measure latency and throughput on this machine, with images of the source, if any",
    )
    others.add_argument(
        "--verify",
        type=Path,
        nargs="?",
        const=Path(),
        metavar="COCO",
        help="check the digests of the archive's files; with a COCO file, also measure the model "
        "on its images, which are in the source (default: the folder of the file)",
    )
    options = parser.parse_args()
    models = options.model or [HERE / "model"]
    if len(models) > 1 and not options.benchmark:
        parser.error("--model: found several, which only --benchmark takes.")
    for name, limit in {"threads": options.threads, "seconds": options.seconds}.items():
        if limit is not None and not limit > 0:
            parser.error(f"--{name}: expected a number above 0, found {limit}.")
    try:
        if options.benchmark:
            return _benchmark(models, options)
        if options.verify is not None:
            return _verify(models[0], options)
        if options.source is None:
            parser.error("expected a source, --benchmark or --verify.")
        return _demonstrate(models[0], options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # of a measurement; the demo ends by itself
        return 130


def _demonstrate(model: Path, options: argparse.Namespace) -> int:
    stop = Event()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    window = Window("demo") if options.show else None
    detector = OpenvinoDetector(model, options.threads, "THROUGHPUT", options.device)
    threshold = options.threshold
    outcome = demo.run(
        detector,
        media.open_source(options.source, options.seconds),
        options.output,
        detector.confidence_threshold if threshold is None else threshold,
        show=window and window.show,
        stop=stop,
    )
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


def _benchmark(models: Sequence[Path], options: argparse.Namespace) -> int:
    detectors = {
        str(model): tuple(
            OpenvinoDetector(model, options.threads, hint, options.device)
            for hint in ("LATENCY", "THROUGHPUT")
        )
        for model in models
    }
    if options.source is None:
        images = [np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)]
        what = "random pixels; name a source to measure with your images"
    else:
        source = media.open_source(options.source, options.seconds)
        images = speed.hold(image for _, image in source)
        what = f"{len(images)} of {options.source}, decoded in memory"
    if not images:
        raise InputError(f"{options.source}: expected an image that can be decoded, found none.")
    height, width = images[0].shape[:2]
    print(f"Device: {options.device}, {device_name(options.device)}")
    _describe_cpu(any(one.quantization for one, _ in detectors.values()))
    print(f"Images: {what}; the first has {width}×{height} pixels", flush=True)
    print(f"{'latency [ms]':>12} {'95 % [ms]':>10} {'images/s':>9}  model")
    for name, found in speed.measure(detectors, images).items():
        one = detectors[name][0]
        print(
            f"{found['latency_ms']:12.1f} {found['latency_p95_ms']:10.1f} "
            f"{found['images_per_second']:9.1f}  {name}, {_precision(one)}, on {one.device}"
        )
    return 0


def _verify(model: Path, options: argparse.Namespace) -> int:
    problems, verified = [], "Verified."
    if model.resolve() == (HERE / "model").resolve():
        packed = [f"model/{name}" for name in (*MODEL_FILES.values(), "performance.json")]
        changed = figures.changed_files(HERE / "SHA256SUMS", ["demo.py", *packed])
        problems += [f"{name}: missing, or not as it was packed" for name in changed]
    recorded = model / "performance.json"
    try:
        performance = json.loads(recorded.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{recorded}: expected the build's figures, found none: {error}"
        ) from error
    if misfit := figures.misfit(recorded, ["model"]):
        problems.append(f"{recorded}: {misfit}")
    elif options.verify != Path():
        detector = OpenvinoDetector(model, options.threads, "THROUGHPUT", options.device)
        try:
            from detmake.evaluation import verification
        except ImportError as error:
            raise InputError(
                f"--verify with a COCO file needs more packages ({error}). Install them: "
                "pip install -r requirements-verify.txt"
            ) from error
        verification.check_figures(performance, recorded)
        images = Path(options.source) if options.source else options.verify.parent
        measured = verification.measure(detector, options.verify, images, performance)
        lines, worse = verification.compare(measured, performance)
        print(f"Device: {detector.device}, {device_name(options.device)}; {_precision(detector)}")
        _describe_cpu(bool(detector.quantization))
        print("\n".join(lines))
        problems += [worse] if worse else []
        if not verification.are_comparable(measured, performance):
            verified = "The files are as the build packed them. The accuracy was not judged."
    for problem in problems:
        print(f"Wrong: {problem}", file=sys.stderr)
    if not problems:
        print(verified)
    return 1 if problems else 0


def _precision(detector: OpenvinoDetector) -> str:
    if detector.quantization:
        return f"int8 ({detector.quantization['method']})"
    return "floating point"


def _describe_cpu(is_int8: bool) -> None:
    cpu = figures.cpu()
    instructions = cpu["int8_instructions"]
    names = "unknown" if instructions is None else ", ".join(instructions) or "none"
    print(f"CPU: {cpu['cpu'] or 'unknown'}; instructions for int8: {names}")
    if is_int8 and instructions == []:
        print(
            "Without these, int8 may be slow, and wrong unless it was built with "
            "pot_parameters.target: any. Compare it with openvino.zip, and verify it."
        )


if __name__ == "__main__":
    sys.exit(main())
