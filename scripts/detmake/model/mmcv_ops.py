"""MMCV's compiled operators in plain torch, for an MMCV that was installed without them.

Building `mmcv._ext` takes a C++ compiler, a quarter of an hour and, for a GPU, nvcc. detmake's
detectors need three of its operators; `install` registers a Python module with these instead.
"""

import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_NMS_BLOCK = 64  # candidates that are compared at a time


def install() -> None:
    """Register the Python operators as `mmcv._ext` unless MMCV has the compiled ones.

    Call before importing `mmcv.ops` or `mmdet.models`.
    """
    if importlib.util.find_spec("mmcv._ext") is None:
        sys.modules["mmcv._ext"] = _Operators("mmcv._ext")


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
    """Greedy non-maximum suppression.

    Args:
        boxes: (N, 4) float, xyxy.
        scores: (N,) float.
        iou_threshold: drops a box whose IoU with a kept, higher-scored box exceeds this.
        offset: 0, or 1 if x2 and y2 are the last pixels inside the box.

    Returns:
        (K,) int64, indices of the kept boxes by descending score, on the device of `boxes`.
    """
    # Transfer once; otherwise greedy suppression waits for the GPU at each step.
    order = scores.detach().cpu().float().argsort(descending=True, stable=True)
    corners = boxes.detach().cpu().float()[order].T.contiguous().numpy()
    candidates = np.arange(corners.shape[1])
    kept = [candidates[:0]]
    while candidates.size:
        block, candidates = candidates[:_NMS_BLOCK], candidates[_NMS_BLOCK:]
        conflicts = _conflicts(corners[:, block], corners[:, block], iou_threshold, offset)
        chosen, suppressed = [], 0  # integers are quick sets of bits, one for each candidate
        for position, row in enumerate(np.packbits(conflicts, axis=1, bitorder="little")):
            if not suppressed >> position & 1:
                chosen.append(position)
                suppressed |= int.from_bytes(row.tobytes(), "little")
        block = block[chosen]
        kept.append(block)
        conflicts = _conflicts(corners[:, block], corners[:, candidates], iou_threshold, offset)
        candidates = candidates[~conflicts.any(axis=0)]
    return order[torch.from_numpy(np.concatenate(kept))].to(boxes.device)


@np.errstate(all="ignore")
def _conflicts(
    first: np.ndarray, second: np.ndarray, iou_threshold: float, offset: int
) -> np.ndarray:
    """Return for each pair of boxes whether its IoU exceeds a threshold.

    As in MMCV, a pair without any area has an IoU of nan, which exceeds nothing.

    Args:
        first: (4, N) float32; rows x1, y1, x2, y2.
        second: (4, M) float32.
        iou_threshold: as for `nms`.
        offset: as for `nms`.

    Returns:
        (N, M) bool.
    """
    x1, y1, x2, y2 = first[:, :, np.newaxis]
    u1, v1, u2, v2 = second
    width = np.minimum(x2, u2) - np.maximum(x1, u1) + offset
    height = np.minimum(y2, v2) - np.maximum(y1, v1) + offset
    overlap = np.maximum(width, 0) * np.maximum(height, 0)
    areas = (x2 - x1 + offset) * (y2 - y1 + offset) + (u2 - u1 + offset) * (v2 - v1 + offset)
    return overlap / (areas - overlap) > iou_threshold


def sigmoid_focal_loss_forward(
    logits: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Focal loss of sigmoid outputs (Lin et al., 2017, equation 5), written to `output`.

    Args:
        logits: (N, C) float.
        target: (N,) int64, class index; C and above mean background.
        weight: (C,) float weight of each target class, or empty for none.
        output: (N, C) float, receives the loss of each element.
        gamma: focusing parameter.
        alpha: weight of positive elements; negative ones get 1 - alpha.
    """
    output.copy_(_focal_loss(logits.float(), target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    logits: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Gradient of `sigmoid_focal_loss_forward` for its logits, written to `grad_input` (N, C)."""
    with torch.enable_grad():
        leaf = logits.detach().float().requires_grad_()
        loss = _focal_loss(leaf, target, weight, gamma, alpha).sum()
    grad_input.copy_(torch.autograd.grad(loss, leaf)[0])


def _focal_loss(
    logits: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float
) -> Tensor:
    positive = F.one_hot(target.clamp(max=logits.size(1)), logits.size(1) + 1)[:, :-1].bool()
    cross_entropy = F.binary_cross_entropy_with_logits(
        logits, positive.to(logits.dtype), reduction="none"
    )
    probability = logits.sigmoid()
    # Avoid 0, at which a power below 1 has no finite gradient.
    miss = torch.where(positive, 1 - probability, probability).clamp(min=torch.finfo().tiny)
    balance = torch.where(positive, alpha, 1 - alpha)
    loss = balance * miss.pow(gamma) * cross_entropy
    if weight.numel():
        # Background weighs 1; the compiled operator has no weight for it and reads past the end.
        loss = loss * F.pad(weight, (0, 1), value=1.0)[target.clamp(max=logits.size(1))][:, None]
    return loss


class _Operators(ModuleType):
    """Stands in for `mmcv._ext`; an operator that is not in this file raises when called."""

    nms = staticmethod(nms)
    sigmoid_focal_loss_forward = staticmethod(sigmoid_focal_loss_forward)
    sigmoid_focal_loss_backward = staticmethod(sigmoid_focal_loss_backward)

    def __init__(self, name: str) -> None:
        super().__init__(name, __doc__)
        # MMEngine calls importlib's find_spec for `mmcv._ext`, which fails without a spec.
        self.__spec__ = importlib.machinery.ModuleSpec(name, loader=None)

    def __getattr__(self, operator: str) -> Callable[..., None]:
        if operator.startswith("__"):
            raise AttributeError(operator)

        def missing(*args: object, **kwargs: object) -> None:
            raise NotImplementedError(
                f"MMCV's operator '{operator}' is not available: MMCV is installed without its "
                "compiled operators, and detmake only replaces nms and sigmoid_focal_loss. Install "
                "MMCV with compiled operators (mmcv._ext) or choose a model that does not need it."
            )

        return missing
