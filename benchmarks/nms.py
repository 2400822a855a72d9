"""Milliseconds of non-maximum suppression by OpenCV and by detmake, which does without a compiler.

1,000 boxes, of which some 300 stay. OpenCV's is compiled, but treats boxes without area and equal
scores in another way than MMCV. Run it from the repository's folder: python benchmarks/nms.py
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from detmake.model import mmcv_ops  # noqa: E402

CANDIDATES, IOU_THRESHOLD, ROUNDS = 1000, 0.6, 200


def candidates() -> tuple[np.ndarray, np.ndarray]:
    """Return boxes (N, 4), float32 xyxy in clusters of about three, and their scores (N,)."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 400, (CANDIDATES * 3 // 10, 2))
    objects = np.hstack([corners, corners + rng.uniform(8, 40, corners.shape)])
    boxes = objects[rng.integers(0, len(objects), CANDIDATES)]
    boxes += rng.normal(0, 1, boxes.shape)
    return boxes.astype(np.float32), rng.uniform(0.01, 1, CANDIDATES).astype(np.float32)


def milliseconds(function: Callable[[], object]) -> float:
    """Run a function once."""
    started = time.perf_counter()
    function()
    return 1000 * (time.perf_counter() - started)


def main() -> None:
    """Measure both in turn, and print medians and the median ratio."""
    torch.set_num_threads(1)
    boxes, scores = candidates()
    tensors = torch.from_numpy(boxes), torch.from_numpy(scores)
    sizes = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    sides = {
        "OpenCV": lambda: cv2.dnn.NMSBoxes(sizes, scores, 0.0, IOU_THRESHOLD),
        "detmake": lambda: mmcv_ops.nms(*tensors, IOU_THRESHOLD),
    }
    print(f"kept     {', '.join(f'{len(side())} ({name})' for name, side in sides.items())}")
    rounds = [{name: milliseconds(side) for name, side in sides.items()} for _ in range(ROUNDS)]
    for name in sides:
        print(f"{name:8} {statistics.median(one[name] for one in rounds):.2f} ms")
    ratio = statistics.median(one["detmake"] / one["OpenCV"] for one in rounds)
    print(f"ratio    {ratio:.2f}")


if __name__ == "__main__":
    main()
