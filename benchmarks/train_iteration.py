"""Seconds per training iteration on the CPU, by MMDetection as shipped and by detmake.

The two alternate, each in a new process, because the C library's memory settings apply to a whole
process. Run it from the repository's folder: python benchmarks/train_iteration.py
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
SIDES = ("shipped", "detmake")


def measure(side: str, width: int, height: int, iterations: int) -> float:
    """Median seconds per iteration with random images, 8 per batch and 14 boxes per image."""
    sys.path.insert(0, str(ROOT / "scripts"))
    import torch
    import yaml

    from detmake.model.network import MODELS, build_detector, model_config
    from detmake.training.runner import keep_freed_memory
    from detmake.training.schedule import mixed_precision

    template = yaml.safe_load((ROOT / "templates/atss_mobilenetv2.yaml").read_text())
    config = model_config(template["model"], num_classes=3)
    if side == "shipped":
        detector, precision = MODELS.build(config), contextlib.nullcontext
    else:
        keep_freed_memory()
        detector = build_detector(config)
        precision = partial(mixed_precision, detector)
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-5, fused=side == "detmake")
    samples = []
    for _ in range(8):
        corner = torch.rand(14, 2) * torch.tensor([0.8 * width, 0.8 * height])
        truth = InstanceData(
            bboxes=torch.cat([corner, corner + 50], dim=1), labels=torch.randint(0, 3, (14,))
        )
        shape = {"img_shape": (height, width), "ori_shape": (height, width)}
        samples.append(DetDataSample(gt_instances=truth, metainfo=shape))
    seconds = []
    for _ in range(iterations):
        images = [torch.randint(0, 255, (3, height, width), dtype=torch.uint8) for _ in samples]
        started = time.perf_counter()
        batch = detector.data_preprocessor({"inputs": images, "data_samples": samples}, True)
        with precision():
            losses = detector(**batch, mode="loss")
        loss, _ = detector.parse_losses(losses)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[2:])


def main() -> None:
    """Measure both sides in turn and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=(416, 320), metavar=("W", "H"))
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(measure(arguments.side, *arguments.size, arguments.iterations))
        return
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(arguments.rounds):
        for side in SIDES:
            command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            seconds[side].append(float(output.split()[-1]))
    for side in SIDES:
        print(f"{side:8} {statistics.median(seconds[side]):.3f} s an iteration")
    ratio = statistics.median(seconds["shipped"]) / statistics.median(seconds["detmake"])
    print(f"ratio    {ratio:.2f}")


if __name__ == "__main__":
    main()
