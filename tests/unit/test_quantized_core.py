"""Quantized snapshots: they are restored bit for bit without a compiler, and exported."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
import yaml
from nncf.torch.quantization.layers import BaseQuantizer

from detmake.model import ir, quantized_core
from detmake.model.network import CoreDetector, build_detector, model_config
from detmake.model.snapshot import Snapshot

TEMPLATE = Path(__file__).parents[2] / "templates/ssd_mobilenetv2.yaml"
SIZE = (160, 96)  # width, height


def images(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(1, 3, SIZE[1], SIZE[0], generator=generator) for _ in range(count)]


@pytest.fixture(scope="module")
def floating_point() -> Snapshot:
    torch.manual_seed(0)
    model = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))["model"]
    config = model_config(model, 2, np.arange(2, 42).reshape(20, 2))
    detector = build_detector(config)
    for module in detector.bbox_head.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.normal_(module.weight, std=0.05)
    return Snapshot(
        model=config,
        labels=["square", "disc"],
        input_size=list(SIZE),
        confidence_threshold=0.3,
        template={"id": "test", "name": "SSD"},
        state_dict=detector.state_dict(),
    )


@pytest.fixture(scope="module")
def quantized(floating_point) -> Snapshot:
    core = initialized(floating_point)
    return replace(
        floating_point, state_dict=core.state_dict(), quantizers=quantized_core.describe(core)
    )


def initialized(snapshot, preset="mixed", ranges="default"):
    """The core with quantizers, calibrated with images of a deviation of 1."""
    return quantized_core.initialize(
        snapshot.core(), images(8, 0), lambda image: image, preset, ranges, (-40.0, 60.0)
    )


def maps(snapshot, image):
    with torch.inference_mode():
        return [level for levels in snapshot.core()(image) for level in levels]


def test_quantized_outputs_are_close_to_floating_point_but_not_equal(floating_point, quantized):
    image = images(1, 1)[0]
    for floating, integer in zip(maps(floating_point, image), maps(quantized, image), strict=True):
        assert not torch.equal(floating, integer)
        difference = (floating - integer).abs().mean() / floating.abs().mean()
        assert difference < 0.2


def test_a_new_process_restores_a_snapshot_bit_for_bit_without_a_compiler(quantized, tmp_path):
    """The PATH is empty, so NNCF finds no compiler."""
    quantized.save(tmp_path / "weights.pth")
    image = images(1, 1)[0]
    torch.save(image, tmp_path / "image.pth")
    code = """
import sys, torch
from pathlib import Path
from detmake.model.snapshot import Snapshot
folder = Path(sys.argv[1])
snapshot = Snapshot.load(folder / "weights.pth")
with torch.inference_mode():
    maps = snapshot.core()(torch.load(folder / "image.pth"))
torch.save([level for levels in maps for level in levels], folder / "maps.pth")
"""
    scripts = Path(__file__).parents[2] / "scripts"
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PATH": str(tmp_path), "PYTHONPATH": str(scripts), "CXX": "none"},
        check=True,
    )
    for here, there in zip(maps(quantized, image), torch.load(tmp_path / "maps.pth"), strict=True):
        assert torch.equal(here, there)


def activation_ranges(core):
    """The quantizers of whole activations, and their ranges."""
    return {
        module: [float(end) for end in module.get_input_low_input_high()]
        for module in core.modules()
        if isinstance(module, BaseQuantizer) and not module.per_channel
    }


@pytest.mark.parametrize(
    "preset, step",
    [("mixed", 100 / 255), pytest.param("performance", 120 / 255, marks=pytest.mark.slow)],
)
def test_the_known_range_of_the_input_is_not_clipped(floating_point, quantized, preset, step):
    """The images that calibrate are within -6 and 6. Only the quantizer of the input is wide."""
    core = quantized.core() if preset == "mixed" else initialized(floating_point, preset)
    ranges = activation_ranges(core).items()
    (quantizer,) = (module for module, (low, high) in ranges if low < -39 and high > 59)
    ends = torch.tensor([-40.0, -7.0, 0.0, 9.0, 60.0]).reshape(1, 1, 1, 5)
    assert (quantizer(ends) - ends).abs().max() < 0.51 * step


@pytest.mark.slow
def test_min_max_ranges_are_wider_than_the_default_ones(floating_point, quantized):
    wide = activation_ranges(initialized(floating_point, ranges="min-max")).values()
    mean = activation_ranges(quantized.core()).values()
    assert len(wide) == len(mean) > 20
    ratios = [(high - low) / (b - a) for (low, high), (a, b) in zip(wide, mean, strict=True)]
    assert min(ratios) > 0.99
    assert max(ratios) > 1.1


def test_a_quantized_core_can_be_trained(quantized):
    """Gradients reach weights and quantizer ranges, and training steps lower the loss."""
    core = quantized.core()
    optimizer = torch.optim.SGD(core.parameters(), lr=1e-3)
    image = images(1, 2)[0]
    losses = []
    for _ in range(4):
        loss = sum(level.square().mean() for levels in core(image) for level in levels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    trained = {name for name, value in core.named_parameters() if value.grad is not None}
    assert any("__nncf_hooks" in name for name in trained)
    assert "backbone.conv1.conv.weight" in trained


def test_the_ir_agrees_with_the_snapshot(quantized):
    """Scores agree within 0.02, about the rounding of int8."""
    core = quantized.core()
    model = ir.convert(quantized)
    quantizers = [node for node in model.get_ops() if node.get_type_name() == "FakeQuantize"]
    assert len(quantizers) > 40
    image = np.random.default_rng(0).integers(0, 255, (1, SIZE[1], SIZE[0], 3), dtype=np.uint8)
    found = ov.Core().compile_model(model, "CPU", {"EXECUTION_MODE_HINT": "ACCURACY"})(image)
    detector = CoreDetector(build_detector(quantized.model), core).eval()
    mean, std = (torch.tensor(quantized.model["data_preprocessor"][k]) for k in ("mean", "std"))
    normalized = ((torch.from_numpy(image).float() - mean) / std).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = detector.head.predict_by_feat(
            *core(normalized), batch_img_metas=[{"img_shape": (SIZE[1], SIZE[0])}]
        )[0]
    scores = np.sort(expected.scores.numpy())[::-1][:20]
    np.testing.assert_allclose(found["scores"][0][:20], scores, atol=0.02)
