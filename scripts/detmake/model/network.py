"""The network: a detector built from a template, and its core without losses and decoding."""

import inspect
import io
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from copy import copy, deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from detmake.errors import InputError
from detmake.model import anchors, mmcv_ops

mmcv_ops.install()

# MMDetection reports which optional packages it misses, and what is deprecated inside of it.
warnings.filterwarnings("ignore", module=r"mm(cv|det|engine)\.")
with redirect_stdout(io.StringIO()):
    from mmdet.models.dense_heads import SSDHead
    from mmdet.registry import MODELS
    from mmdet.utils import reduce_mean, register_all_modules
    from mmengine.config import ConfigDict
    from mmengine.model import BaseModel

    register_all_modules(init_default_scope=True)

_PROBE_SIZE = 256  # pixels; a multiple of the strides of all backbones


def model_config(
    model: Mapping[str, Any], num_classes: int, box_sizes: np.ndarray | None = None
) -> dict[str, Any]:
    """A template's `model` completed: classes, fitted anchors, channels between its parts.

    A backbone without `out_indices` gets those of the strides that the head needs, and what takes
    its maps gets their numbers of channels as `in_channels`.

    Args:
        model: an MMDetection `model` dict of a single-stage detector. Where `base_sizes` of the
            head's anchor generator are numbers of anchors, the sizes are fitted.
        num_classes: number of classes, without background.
        box_sizes: (N, 2) float, widths and heights of the dataset's boxes in pixels of the
            network's input, to fit anchors to; None: the anchors must be given.

    Raises:
        InputError: the anchors cannot be fitted, or the backbone cannot be built or has no maps
            of the strides that the head needs.
    """
    config = deepcopy(dict(model))
    head = config["bbox_head"]
    head["num_classes"] = num_classes
    generator = head.get("anchor_generator", {})
    if isinstance(generator.get("base_sizes", [[]])[0], int):
        if box_sizes is None:
            raise InputError(
                f"model.bbox_head.anchor_generator.base_sizes: found {generator['base_sizes']}, "
                "numbers of anchors, expected the [width, height] of each, in pixels, with which "
                "the weights were trained."
            )
        generator["base_sizes"] = anchors.fit(box_sizes, generator["base_sizes"])
    _connect_backbone(config)
    return config


def _connect_backbone(config: dict[str, Any]) -> None:
    head, backbone = config["bbox_head"], config["backbone"]
    taker = config.get("neck", head)
    taker = taker[0] if isinstance(taker, list) else taker
    strides = [stride[0] for stride in MODELS.build(ConfigDict(head)).prior_generator.strides]
    wanted = strides[: len(taker["in_channels"])]

    kind = MODELS.get(backbone["type"])
    if kind is None:
        raise InputError(
            f"model.backbone.type: found {backbone['type']}, expected a backbone that MMDetection "
            "registers, such as MobileNetV2, ResNet, CSPDarknet, CSPNeXt, "
            "PyramidVisionTransformerV2."
        )
    if any("norm_eval" in inspect.signature(base.__init__).parameters for base in kind.__mro__):
        # ResNet's default, which is for weights that are not trained from scratch.
        backbone.setdefault("norm_eval", False)
    try:
        network = MODELS.build(ConfigDict(backbone))
        network.eval()
        with torch.inference_mode():
            maps = network(torch.zeros(1, 3, _PROBE_SIZE, _PROBE_SIZE))
    except Exception as error:
        raise InputError(
            f"model.backbone: {backbone['type']} cannot be built with {backbone}: {error}"
        ) from error
    found = [_PROBE_SIZE // level.shape[3] for level in maps]
    if found != wanted:
        choosable = hasattr(network, "out_indices") and "out_indices" not in backbone
        if not choosable or not set(wanted) <= set(found):
            raise InputError(
                f"model.backbone: {backbone['type']} gives maps of strides {found}, expected "
                f"{wanted}, the strides of the head. Change or leave out its `out_indices`, or "
                "take another backbone."
            )
        levels = [found.index(stride) for stride in wanted]
        backbone["out_indices"] = [network.out_indices[level] for level in levels]
        maps = [maps[level] for level in levels]
    taker["in_channels"] = [level.shape[1] for level in maps]


def build_detector(config: Mapping[str, Any]) -> nn.Module:
    """An MMDetection detector that computes in `channels_last`, as CPU and GPU kernels prefer.

    Args:
        config: a complete MMDetection `model` dict (`model_config`).
    """
    detector = MODELS.build(ConfigDict(deepcopy(dict(config))))
    if isinstance(detector.bbox_head, SSDHead):
        _complete_ssd(detector.bbox_head)
    detector.backbone.register_forward_pre_hook(
        lambda _, images: (images[0].contiguous(memory_format=torch.channels_last),)
    )
    return detector.to(memory_format=torch.channels_last)


def _complete_ssd(head: SSDHead) -> None:
    """Give MMDetection's SSD head what its other heads have."""
    head.loss_cls = None  # the base head's prediction looks at it
    get_targets = head.get_targets

    def get_targets_averaged(*args: Any, **kwargs: Any) -> tuple:
        # Losses are divided by the number of positive anchors; with several processes, its mean.
        *targets, positives = get_targets(*args, **kwargs)
        mean = reduce_mean(targets[0][0].new_tensor(positives, dtype=torch.float)).item()
        return *targets, mean

    head.get_targets = get_targets_averaged


class Core(nn.Module):
    """Backbone, neck and head of a detector: from a normalized image to the head's raw maps.

    Losses and box decoding are outside of it, so that the same network is trained, exported and
    quantized.
    """

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.backbone = detector.backbone
        self.neck = detector.neck if detector.with_neck else nn.Identity()
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


class CoreDetector(BaseModel):
    """A detector whose losses and predictions come from a core's maps, quantized or not.

    Args:
        detector: the MMDetection detector that the core was taken from: its preprocessing, losses
            and postprocessing.
        core: the core; its weights are the detector's only ones.
    """

    def __init__(self, detector: nn.Module, core: nn.Module) -> None:
        super().__init__(data_preprocessor=detector.data_preprocessor)
        self.core = core
        head = copy(detector.bbox_head)
        head.forward = lambda maps: maps  # what it is given has been through the core's head
        object.__setattr__(self, "head", head)  # no submodule: its weights are the core's

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = "tensor") -> Any:
        """As MMDetection's detectors: maps, a dict of losses, or samples with predictions.

        Args:
            inputs: (N, 3, H, W) float, normalized.
            data_samples: N `DetDataSample`, for losses and predictions.
            mode: `tensor`, `loss` or `predict`.
        """
        maps = self.core(inputs)
        if mode == "tensor":
            return maps
        if mode == "loss":
            return self.head.loss(maps, data_samples)
        found = self.head.predict(maps, data_samples, rescale=True)
        for sample, instances in zip(data_samples, found, strict=True):
            sample.pred_instances = instances
        return data_samples
