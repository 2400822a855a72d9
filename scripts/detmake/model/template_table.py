"""The table of templates: the detectors to choose from, and what each costs."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from mmengine.analysis import get_model_complexity_info
from mmengine.logging import MMLogger

from detmake.model.network import Core, build_detector, model_config


def table(templates: Sequence[Path]) -> pd.DataFrame:
    """One row for each template file.

    Its columns are `id`, `name`, `backbone`; `input size` (width×height in pixels); `GFLOPs`,
    10⁹ multiply-adds of one image, as MMDetection counts them; `parameters` in 10⁶; `path`. The
    figures are of a network for COCO's 80 classes, without decoding.
    """
    # MMEngine would list the operators that it does not count and the modules it does not run.
    MMLogger.get_current_instance().setLevel(logging.ERROR)
    any_sizes = np.arange(100).reshape(50, 2) + 1.0  # sizes of anchors change no figure
    rows = []
    for path in templates:
        template = yaml.safe_load(path.read_text(encoding="utf-8"))
        width, height = template["input_size"]
        detector = build_detector(model_config(template["model"], 80, any_sizes))
        complexity = get_model_complexity_info(
            Core(detector).eval(), (3, height, width), show_table=False, show_arch=False
        )
        rows.append(
            {
                "id": template["id"],
                "name": template["name"],
                "backbone": template["model"]["backbone"]["type"],
                "input size": f"{width}×{height}",
                "GFLOPs": f"{complexity['flops'] / 1e9:.1f}",
                "parameters": f"{complexity['params'] / 1e6:.1f} M",
                "path": os.path.relpath(path),
            }
        )
    return pd.DataFrame(rows)
