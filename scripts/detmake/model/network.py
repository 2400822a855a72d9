"""The network: a detector built from a template, and its core without losses and decoding."""

import inspect
import io
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from copy import copy, deepcopy
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from detmake.errors import InputError
from detmake.model import absent, anchors, mmcv_ops

mmcv_ops.install()

# Hide MMDetection's messages about missing optional packages and its own deprecated code.
warnings.filterwarnings("ignore", module=r"mm(cv|det|engine)\.")
warnings.filterwarnings("ignore", message=r"torch\.meshgrid: ")
with redirect_stdout(io.StringIO()), absent.left_out():
    from mmdet.models.dense_heads import SSDHead
    from mmdet.models.detectors import kd_one_stage
    from mmdet.registry import MODELS
    from mmdet.utils import reduce_mean, register_all_modules
    from mmengine.config import ConfigDict
    from mmengine.model import BaseModel
    from mmengine.registry import Registry
    from mmengine.runner import CheckpointLoader

    register_all_modules(init_default_scope=True)

_get = Registry.get


def _get_registered(registry: Registry, name: str) -> type | None:
    if "." in name:
        raise InputError(
            f"type: found {name}, expected the name of a class in MMDetection's registries, which "
            "has no dot. Do not use the file that names it if you do not trust its source."
        )
    return _get(registry, name)


def _refuse_file(file: Any, *_: Any, **__: Any) -> None:
    raise InputError(
        f"model: found {file}, expected no file in a model: name pretrained weights by the key "
        "`pretrained`, which reads weights only. Do not use the file that names it if you do not "
        "trust its source."
    )


# MMEngine imports whatever a dotted name says, and calls it: `os.system` in a stranger's snapshot.
Registry.get = _get_registered
# It runs the code in weights and configurations that a model names: in `init_cfg`, for a teacher.
CheckpointLoader.load_checkpoint = _refuse_file
kd_one_stage.Config = SimpleNamespace(fromfile=_refuse_file)

_PROBE_SIZE = 256  # pixels; a multiple of the strides of all backbones


def model_config(
    model: Mapping[str, Any], num_classes: int, box_sizes: np.ndarray | None = None
) -> dict[str, Any]:
    """Complete a template's `model`: number of classes, fitted anchors, channels between parts.

    A backbone without `out_indices` gets those of the strides that the head needs. The part after
    the backbone gets the channels of its maps as `in_channels`.

    Args:
        model: an MMDetection `model` dict of a single-stage detector. If `base_sizes` of the
            head's anchor generator are numbers of anchors, the sizes are fitted. If its
            `octave_base_scale` is a list, [lowest, highest], the scale is fitted between them;
            without boxes it is the highest one.
        num_classes: number of classes, without background.
        box_sizes: (N, 2) float, widths and heights of the dataset's boxes in pixels of the
            network's input, to fit anchors to; None if the model gives the anchors.

    Raises:
        InputError: the anchors cannot be fitted, the backbone cannot be built, or it has no maps
            of the strides that the head needs.
    """
    config = deepcopy(dict(model))
    if "bbox_head" not in config:
        raise InputError(
            f"model: found {', '.join(config)}, expected a `bbox_head`, too: the head of a "
            "single-stage detector."
        )
    head = config["bbox_head"]
    head["num_classes"] = num_classes
    generator = head.get("anchor_generator", {})
    if isinstance(generator.get("base_sizes", [[]])[0], int):
        if box_sizes is None:
            raise InputError(
                f"model.bbox_head.anchor_generator.base_sizes: found {generator['base_sizes']}, "
                "numbers of anchors. Expected the [width, height] in pixels of each anchor that "
                "the weights were trained with."
            )
        generator["base_sizes"] = anchors.fit(box_sizes, generator["base_sizes"])
    if isinstance(limits := generator.get("octave_base_scale"), list):
        if len(limits) != 2 or not 0 < limits[0] <= limits[1]:
            raise InputError(
                f"model.bbox_head.anchor_generator.octave_base_scale: found {limits}, expected "
                "[lowest, highest], the limits of the scale that is fitted to the train subset, "
                "or one number."
            )
        if box_sizes is None:
            scale = limits[1]
        else:
            scale = anchors.fit_scale(box_sizes, np.min(generator["strides"]), *limits)
        generator["octave_base_scale"] = scale
    _connect_backbone(config)
    return config


def _connect_backbone(config: dict[str, Any]) -> None:
    head, backbone = config["bbox_head"], config["backbone"]
    taker = config.get("neck", head)
    taker = taker[0] if isinstance(taker, list) else taker
    strides = [stride[0] for stride in _built("model.bbox_head", head).prior_generator.strides]
    wanted = strides[: len(taker["in_channels"])]

    kind = MODELS.get(backbone["type"])
    if kind is None:
        raise InputError(
            f"model.backbone.type: found {backbone['type']}, expected a backbone of MMDetection's "
            "registry, such as MobileNetV2, ResNet, CSPDarknet, CSPNeXt or "
            "PyramidVisionTransformerV2."
        )
    if any("norm_eval" in inspect.signature(base.__init__).parameters for base in kind.__mro__):
        # ResNet's default, True, only suits pretrained weights.
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
                "choose another backbone."
            )
        levels = [found.index(stride) for stride in wanted]
        backbone["out_indices"] = [network.out_indices[level] for level in levels]
        maps = [maps[level] for level in levels]
    taker["in_channels"] = [level.shape[1] for level in maps]


def build_detector(config: Mapping[str, Any]) -> nn.Module:
    """Build an MMDetection detector from its complete `model` dict (`model_config`).

    It computes in `channels_last`, which is faster.

    Raises:
        InputError: it cannot be built.
    """
    detector = _built("model", deepcopy(dict(config)))
    if isinstance(detector.bbox_head, SSDHead):
        _complete_ssd(detector.bbox_head)
    detector.backbone.register_forward_pre_hook(
        lambda _, images: (images[0].contiguous(memory_format=torch.channels_last),)
    )
    return detector.to(memory_format=torch.channels_last)


def _built(key: str, config: Mapping[str, Any]) -> nn.Module:
    """Build a part of a model, or say which key of the template is wrong."""
    try:
        return MODELS.build(ConfigDict(config))
    except (InputError, OSError, MemoryError):  # of the machine: not the template's fault
        raise
    except Exception as error:
        raise InputError(
            f"{key}: cannot be built: {type(error).__name__}: {error}\n"
            f"Correct `{key}` in the template file."
        ) from error


def _complete_ssd(head: SSDHead) -> None:
    """Add to MMDetection's SSD head what its other heads have."""
    head.loss_cls = None  # the base head's prediction reads it
    get_targets = head.get_targets

    def get_targets_averaged(*args: Any, **kwargs: Any) -> tuple:
        # Divide losses by the number of positive anchors, averaged over all processes.
        *targets, positives = get_targets(*args, **kwargs)
        mean = reduce_mean(targets[0][0].new_tensor(positives, dtype=torch.float)).item()
        return *targets, mean

    head.get_targets = get_targets_averaged


class Core(nn.Module):
    """Backbone, neck and head of a detector: from a normalized image to the head's raw maps.

    Losses and box decoding stay outside, so that training, export and quantization share it.
    """

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.backbone = detector.backbone
        self.neck = detector.neck if detector.with_neck else nn.Identity()
        self.bbox_head = detector.bbox_head

    def forward(self, images: Tensor) -> Sequence[list[Tensor]]:
        """Compute the raw maps of a batch.

        Args:
            images: (N, 3, H, W) float, normalized like the output of the detector's preprocessor.

        Returns:
            The output of the head's forward: for each kind of map, a list with one (N, C, h, w)
            tensor per level.
        """
        return self.bbox_head(self.neck(self.backbone(images)))


class CoreDetector(BaseModel):
    """A detector that computes losses and predictions from the maps of a core, quantized or not.

    Args:
        detector: the core's MMDetection detector, for preprocessing, losses and postprocessing.
        core: the core, which holds all weights.
    """

    def __init__(self, detector: nn.Module, core: nn.Module) -> None:
        super().__init__(data_preprocessor=detector.data_preprocessor)
        self.core = core
        head = copy(detector.bbox_head)
        head.forward = lambda maps: maps  # the maps come from the core's head
        object.__setattr__(self, "head", head)  # not a submodule: the core has its weights

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = "tensor") -> Any:
        """Return maps, a dict of losses or samples with predictions, like MMDetection's detectors.

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
