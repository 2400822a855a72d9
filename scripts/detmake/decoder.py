"""Decoders, one for each head family: from raw maps to boxes and scores of every anchor."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from detmake.errors import InputError


class AtssDecoder(nn.Module):
    """Decoder of ATSS: one anchor per cell, box deltas, scores weighted by centerness.

    Boxes come out normalized by the size of the network's input. The anchors are constants, with
    the coder's deviations multiplied in.

    Args:
        head: the detector's head.
        input_size: width and height of the network's input in pixels.

    Raises:
        InputError: the head has more than one anchor per cell.
    """

    def __init__(self, head: nn.Module, input_size: Sequence[int]) -> None:
        super().__init__()
        if set(head.prior_generator.num_base_priors) != {1}:
            raise InputError(
                "model.bbox_head.anchor_generator: found more than one anchor per cell, expected "
                "one ratio and one scale, as ATSS is defined."
            )
        coder = head.bbox_coder
        if type(coder).__name__ != "DeltaXYWHBBoxCoder":
            raise InputError(
                f"model.bbox_head.bbox_coder: found {type(coder).__name__}, which has no "
                "decoder for OpenVINO. Expected: DeltaXYWHBBoxCoder."
            )
        width, height = input_size
        sizes = [
            (math.ceil(height / stride[1]), math.ceil(width / stride[0]))
            for stride in head.prior_generator.strides
        ]
        anchors = torch.cat(head.prior_generator.grid_priors(sizes, device="cpu"))  # (A, 4) xyxy
        scale = torch.tensor([width, height])
        centers = (anchors[:, :2] + anchors[:, 2:]) / 2 / scale
        extents = (anchors[:, 2:] - anchors[:, :2]) / scale
        mean, std = torch.tensor(coder.means), torch.tensor(coder.stds)
        self.register_buffer("centers", (centers + extents * mean[:2]).T[None])  # (1, 2, A)
        self.register_buffer("steps", (extents * std[:2]).T[None])
        self.register_buffer("half_extents", extents.T[None] / 2)
        self.register_buffer("growth_std", std[2:].view(1, 2, 1))
        self.register_buffer("growth_mean", mean[2:].view(1, 2, 1))
        # MMDetection's limit on how much a box is larger or smaller than its anchor.
        self.max_growth = abs(math.log(16 / 1000))

    def forward(
        self, cls_scores: list[Tensor], bbox_preds: list[Tensor], centernesses: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Decode the maps of one batch, level by level in the order of the anchors.

        Args:
            cls_scores: for each level (N, C, h, w), logits.
            bbox_preds: for each level (N, 4, h, w), deltas.
            centernesses: for each level (N, 1, h, w), logits.

        Returns:
            boxes (N, A, 4), xyxy, normalized and clipped to [0, 1]; scores (N, C, A) in [0, 1].
        """
        logits, deltas, centerness = (
            torch.cat([level.flatten(2) for level in levels], dim=2)
            for levels in (cls_scores, bbox_preds, centernesses)
        )
        scores = logits.sigmoid() * centerness.sigmoid()
        centers = self.centers + deltas[:, :2] * self.steps
        growth = deltas[:, 2:] * self.growth_std + self.growth_mean
        half = self.half_extents * growth.clamp(-self.max_growth, self.max_growth).exp()
        boxes = torch.cat([centers - half, centers + half], dim=1).clamp(0, 1)
        return boxes.transpose(1, 2), scores


#: Decoders by the head's class, whose subclasses may decode in another way.
_DECODERS = {"ATSSHead": AtssDecoder}


def build_decoder(head: nn.Module, input_size: Sequence[int]) -> nn.Module:
    """The decoder of a head.

    Args:
        head: the head of an MMDetection detector.
        input_size: width and height of the network's input in pixels.

    Raises:
        InputError: the head is of a family without a decoder.
    """
    family = type(head).__name__
    if family not in _DECODERS:
        raise InputError(
            f"model.bbox_head: found {family}, which cannot be exported to OpenVINO: it has no "
            f"decoder. Expected one of: {', '.join(_DECODERS)}."
        )
    return _DECODERS[family](head, input_size)
