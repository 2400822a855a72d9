"""A model folder whose detections are known: three boxes, scored by the mean of each channel."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset9 as opset

LABELS = ["red", "white", "platelet"]
BOXES = np.float32([[0, 0, 0.5, 1], [0.25, 0.5, 0.75, 1], [0, 0, 1, 1]])
CLASSES = np.int32([2, 0, 1])


def write(folder: Path, **description: Any) -> Path:
    """Write the model folder; boxes are normalized xyxy, whatever the image.

    `config.json` has further keys if given.
    """
    image = opset.parameter([1, -1, -1, 3], ov.Type.u8, name="image")
    mean = opset.reduce_mean(opset.convert(image, "f32"), np.int64([1, 2]), keep_dims=False)
    nothing = opset.multiply(opset.unsqueeze(mean, np.int64(2)), np.float32(0))  # (1, 3, 1)
    outputs = {
        "bboxes": opset.add(nothing, BOXES[None]),
        "scores": opset.divide(mean, np.float32(255)),
        "labels": opset.constant(CLASSES[None]),
    }
    for name, node in outputs.items():
        node.output(0).get_tensor().set_names({name})
    model = ov.Model([opset.result(node) for node in outputs.values()], [image], "means")
    ov.save_model(model, folder / "openvino.xml", compress_to_fp16=False)
    content = {"labels": LABELS, "confidence_threshold": 0.5, **description}
    (folder / "config.json").write_text(json.dumps(content))
    return folder
