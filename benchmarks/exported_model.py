"""Milliseconds an image: an exported model from pixels to boxes, and its bare network.

The network is cut out of the same IR, without preprocessing, decoding and non-maximum suppression.
The two alternate, image by image. Run it from the repository's folder, with a model folder:
python benchmarks/exported_model.py results/pot
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset9 as opset

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from detmake.runtime import openvino_core  # noqa: E402
from detmake.runtime.images import read_image  # noqa: E402
from detmake.runtime.inference import compile_model, detect  # noqa: E402


def cut_network(model: ov.Model) -> ov.Model:
    """Return what lies between the first convolution and the decoder."""
    ops = model.get_ordered_ops()
    first = next(op for op in ops if op.get_type_name().endswith("Convolution"))
    if first.input_value(0).get_node().get_type_name() == "FakeQuantize":
        first = first.input_value(0).get_node()
    pixels = opset.parameter(first.input_value(0).get_partial_shape(), np.float32, "pixels")
    network, decoding, maps = {first.get_friendly_name()}, set(), []
    for op in ops:
        sources = {source.get_node().get_friendly_name(): source for source in op.input_values()}
        if "decoder" in op.get_friendly_name() or decoding & sources.keys():
            decoding.add(op.get_friendly_name())
            maps += [source for name, source in sources.items() if name in network]
        elif network & sources.keys():
            network.add(op.get_friendly_name())
    first.input(0).replace_source_output(pixels.output(0))
    return ov.Model(maps, [pixels], "network")


def milliseconds(function: Callable[[], object]) -> float:
    """Run a function once."""
    started = time.perf_counter()
    function()
    return 1000 * (time.perf_counter() - started)


def main() -> None:
    """Measure both in turn and print medians and the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="with openvino.xml and openvino.bin")
    parser.add_argument("--image", type=Path, help="an image file; without it, noise")
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    model = openvino_core.core().read_model(arguments.folder / "openvino.xml")
    whole = compile_model(model, threads)
    network = compile_model(cut_network(model.clone()), threads)
    _, channels, height, width = network.input(0).shape
    rng = np.random.default_rng(0)
    pixels = rng.standard_normal((1, channels, height, width), np.float32)
    # A network may begin with a rearrangement of pixels, and get fewer of them, in more channels.
    description = json.loads((arguments.folder / "config.json").read_text(encoding="utf-8"))
    image = rng.integers(0, 256, (*description["input_size"][::-1], 3), np.uint8)
    if arguments.image:
        image = read_image(arguments.image)
    sides = {"whole": lambda: detect(whole, image), "network": lambda: network(pixels)}
    rounds = [
        {name: milliseconds(side) for name, side in sides.items()} for _ in range(arguments.rounds)
    ][5:]
    for name in sides:
        print(f"{name:8} {statistics.median(one[name] for one in rounds):.2f} ms")
    ratio = statistics.median(one["whole"] / one["network"] for one in rounds)
    print(f"ratio    {ratio:.2f}")


if __name__ == "__main__":
    main()
