"""The network: a detector built from a template, and its core without losses and decoding."""

import io
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from detmake import mmcv_ops

mmcv_ops.install()

# MMDetection reports which optional packages it misses, and what is deprecated inside of it.
warnings.filterwarnings("ignore", module=r"mm(cv|det|engine)\.")
with redirect_stdout(io.StringIO()):
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules
    from mmengine.config import ConfigDict

    register_all_modules(init_default_scope=True)


def model_config(model: Mapping[str, Any], num_classes: int) -> dict[str, Any]:
    """A template's `model` completed with the number of classes of the dataset.

    Args:
        model: an MMDetection `model` dict.
        num_classes: number of classes, without background.
    """
    config = deepcopy(dict(model))
    config["bbox_head"]["num_classes"] = num_classes
    return config


def build_detector(config: Mapping[str, Any]) -> nn.Module:
    """An MMDetection detector that computes in `channels_last`, as CPU and GPU kernels prefer.

    Args:
        config: a complete MMDetection `model` dict (`model_config`).
    """
    detector = MODELS.build(ConfigDict(deepcopy(dict(config))))
    detector.backbone.register_forward_pre_hook(
        lambda _, images: (images[0].contiguous(memory_format=torch.channels_last),)
    )
    return detector.to(memory_format=torch.channels_last)


class Core(nn.Module):
    """Backbone, neck and head of a detector: from a normalized image to the head's raw maps.

    Losses and box decoding are outside of it, so that the same network is trained, exported and
    quantized.
    """

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.backbone = detector.backbone
        self.neck = detector.neck
        self.bbox_head = detector.bbox_head

    def forward(self, images: Tensor) -> Sequence[list[Tensor]]:
        """Raw maps of a batch.

        Args:
            images: (N, 3, H, W) float, normalized as the detector's preprocessor does.

        Returns:
            What the head's forward returns: for each kind of map a list with one (N, C, h, w)
            tensor for each level.
        """
        return self.bbox_head(self.neck(self.backbone(images)))
