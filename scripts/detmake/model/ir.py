"""Export of a snapshot to a self-contained OpenVINO IR, from any image to final boxes."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import torch
from openvino import opset9 as opset
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from openvino.preprocess import PrePostProcessor, ResizeAlgorithm
from torch import Tensor, nn

from detmake.detections import MAX_DETECTIONS
from detmake.model.decoder import build_decoder
from detmake.model.snapshot import Snapshot
from detmake.runtime.model_folder import write_model_folder


class _Exported(nn.Module):
    """Core and decoder; the graph scope `decoder` identifies the operations of the latter."""

    def __init__(self, core: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.core = core
        self.decoder = decoder

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.decoder(*self.core(images))


def convert(snapshot: Snapshot) -> ov.Model:
    """Convert a snapshot with pre- and postprocessing to an OpenVINO model in float32.

    Input `image`: (1, H, W, 3) uint8, BGR, any size. Outputs, K detections by descending score:
    `bboxes` (1, K, 4) float32, xyxy normalized to [0, 1]; `scores` (1, K) float32;
    `labels` (1, K) int32.
    """
    core = snapshot.core()
    width, height = snapshot.input_size
    network = _Exported(core, build_decoder(core.bbox_head, snapshot.input_size))
    example = torch.zeros(1, 3, height, width)
    with torch.inference_mode(), warnings.catch_warnings():
        # Quantizers cause warnings that levels become constants and that rounding differs.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        # By default, torch traces a second time to compare. That takes a third of the conversion.
        traced = TorchScriptPythonDecoder(
            network.eval(), example_input=example, trace_kwargs={"check_trace": False}
        )
        model = ov.convert_model(
            traced, example_input=example, input=[ov.PartialShape([1, 3, height, width])]
        )
    return _with_preprocessing(_with_nms(model, snapshot.model["test_cfg"]), snapshot)


def export(snapshot: Snapshot, folder: Path) -> None:
    """Write the snapshot's IR, with weights compressed to float16, and its side files.

    Args:
        snapshot: the snapshot.
        folder: receives `openvino.xml`, `openvino.bin`, `config.json`, `label_schema.json` and
            `confidence_threshold`.
    """
    write_model_folder(convert(snapshot), folder, describe(snapshot))


def describe(snapshot: Snapshot) -> dict[str, Any]:
    """Return what `config.json` says of a snapshot's IR (`detmake.runtime.model_folder`)."""
    return {
        "template": dict(snapshot.template),
        "labels": list(snapshot.labels),
        "input_size": list(snapshot.input_size),
        "confidence_threshold": snapshot.confidence_threshold,
        "iou_threshold": snapshot.model["test_cfg"]["nms"]["iou_threshold"],
        **({"tiling": dict(snapshot.tiling)} if snapshot.tiling else {}),
    }


def _with_nms(model: ov.Model, test_cfg: Mapping[str, Any]) -> ov.Model:
    """Select the boxes and scores that MMDetection's postprocessing would keep."""
    boxes, scores = (output.get_node().input_value(0) for output in model.outputs)
    kept = opset.multiclass_nms(
        boxes,
        _rounded(scores),
        sort_result_type="score",
        output_type="i32",
        iou_threshold=test_cfg["nms"]["iou_threshold"],
        score_threshold=test_cfg["score_thr"],
        nms_top_k=test_cfg.get("nms_pre", -1),
        keep_top_k=min(test_cfg.get("max_per_img", MAX_DETECTIONS), MAX_DETECTIONS),
    ).output(0)  # (K, 6): label, score, x1, y1, x2, y2
    label, score, corners = opset.variadic_split(
        opset.unsqueeze(kept, np.int64(0)), np.int64(2), np.int64([1, 1, 4])
    ).outputs()
    outputs = {
        "bboxes": opset.clamp(corners, 0.0, 1.0).output(0),
        "scores": opset.squeeze(score, np.int64(2)).output(0),
        "labels": opset.convert(opset.squeeze(label, np.int64(2)), "i32").output(0),
    }
    for name, output in outputs.items():
        output.get_tensor().set_names({name})
    return ov.Model(list(outputs.values()), model.get_parameters(), "detector")


def _rounded(scores: ov.Output) -> ov.Output:
    """Round scores to steps of 2⁻¹⁶.

    The CPU plugin's sort compares inconsistently if scores differ by less than 1e-6, as they do on
    a uniform image. It then writes beyond its buffer and crashes the process (OpenVINO 2026.4).
    """
    steps = np.float32(2**16)
    rounded = opset.divide(opset.round(opset.multiply(scores, steps)), steps)
    rounded.set_friendly_name("decoder/rounded")
    return rounded.output(0)


def _with_preprocessing(model: ov.Model, snapshot: Snapshot) -> ov.Model:
    """Prepend conversion, resizing and normalization of uint8 BGR images of any size."""
    preprocessor = snapshot.model["data_preprocessor"]
    steps = PrePostProcessor(model)
    image = steps.input()
    image.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    image.tensor().set_spatial_dynamic_shape()
    image.model().set_layout(ov.Layout("NCHW"))
    image.preprocess().convert_element_type(ov.Type.f32).resize(ResizeAlgorithm.RESIZE_LINEAR)
    if preprocessor.get("bgr_to_rgb") or preprocessor.get("rgb_to_bgr"):  # MMDetection swaps alike
        image.preprocess().reverse_channels()
    if preprocessor.get("mean") is not None:
        image.preprocess().mean(list(preprocessor["mean"])).scale(list(preprocessor["std"]))
    model = steps.build()
    model.input().get_tensor().set_names({"image"})
    return model
