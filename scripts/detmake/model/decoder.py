"""Decoders, one per head family: from raw maps to the boxes and scores of all priors.

They take the maps of a batch, for each level from the finest on (N, P·D, h, w) with P priors per
cell. They return boxes (N, A, 4), xyxy normalized by the input size, and scores (N, C, A) in
[0, 1]. Boxes of ATSS, SSD and RTMDet are clipped to [0, 1]; those that then have no area get a
score of 0, because MMDetection drops them (`min_bbox_size`).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from detmake.errors import InputError


class AnchorDecoder(nn.Module):
    """Decodes ATSS and SSD, which predict deltas from one or several anchors per cell.

    The anchors are constants with the coder's means and deviations folded in.

    Raises:
        InputError: there is no decoder for the head's box coder or one of its options.
    """

    def __init__(self, head: nn.Module, input_size: Sequence[int]) -> None:
        super().__init__()
        coder = head.bbox_coder
        if type(coder).__name__ != "DeltaXYWHBBoxCoder":
            raise InputError(
                f"model.bbox_head.bbox_coder: found {type(coder).__name__}, which cannot be "
                "exported to OpenVINO. Expected DeltaXYWHBBoxCoder."
            )
        if coder.add_ctr_clamp or not coder.clip_border:
            raise InputError(
                "model.bbox_head.bbox_coder: found add_ctr_clamp: true or clip_border: false, "
                "which cannot be exported to OpenVINO. Leave both out."
            )
        self.softmax = not head.use_sigmoid_cls
        self.per_cell = head.prior_generator.num_base_priors
        anchors, size = _priors(head, input_size), torch.tensor(input_size).view(1, 2, 1)
        centers = (anchors[:, :2] + anchors[:, 2:]) / 2 / size
        extents = (anchors[:, 2:] - anchors[:, :2]) / size
        mean, std = (torch.tensor(value).view(1, 4, 1) for value in (coder.means, coder.stds))
        self.register_buffer("centers", centers + extents * mean[:, :2])
        self.register_buffer("steps", extents * std[:, :2])
        self.register_buffer("half_extents", extents / 2)
        self.register_buffer("growth_std", std[:, 2:])
        self.register_buffer("growth_mean", mean[:, 2:])
        # MMDetection's limit on the ratio of a box's size to its anchor's.
        self.max_growth = abs(math.log(16 / 1000))

    def forward(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        centernesses: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Decode the maps of one batch.

        Args:
            cls_scores: for each level (N, P·C, h, w), logits of P anchors; SSD has the
                background as the last class.
            bbox_preds: for each level (N, P·4, h, w), deltas.
            centernesses: for each level (N, 1, h, w), logits; only ATSS has them.
        """
        logits, deltas = _flat(cls_scores, self.per_cell), _flat(bbox_preds, self.per_cell)
        scores = logits.softmax(dim=1)[:, :-1] if self.softmax else logits.sigmoid()
        if centernesses is not None:
            scores = scores * _flat(centernesses, self.per_cell).sigmoid()
        centers = self.centers + deltas[:, :2] * self.steps
        growth = deltas[:, 2:] * self.growth_std + self.growth_mean
        half = self.half_extents * growth.clamp(-self.max_growth, self.max_growth).exp()
        boxes = torch.cat([centers - half, centers + half], dim=1).clamp(0, 1)
        return boxes.transpose(1, 2), scores * _has_area(boxes)


class _PointDecoder(nn.Module):
    """Points and strides of all cells, and the scale from pixels, normalized by the input size."""

    def __init__(self, head: nn.Module, input_size: Sequence[int]) -> None:
        super().__init__()
        self.per_cell = head.prior_generator.num_base_priors
        points = _priors(head, input_size, with_stride=True)  # x, y, stride, stride
        size = torch.tensor(input_size).view(1, 2, 1)
        self.register_buffer("points", points[:, :2] / size)
        self.register_buffer("strides", points[:, 2:] / size)
        self.register_buffer("scale", 1 / size)


class RtmdetDecoder(_PointDecoder):
    """Decodes RTMDet, which predicts distances from a point to the four sides of its box."""

    def forward(
        self, cls_scores: Sequence[Tensor], distances: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Decode the maps of one batch.

        Args:
            cls_scores: for each level (N, C, h, w), logits.
            distances: for each level (N, 4, h, w), to left, top, right and bottom, in pixels.
        """
        sides = _flat(distances, self.per_cell)
        first = self.points - sides[:, :2] * self.scale
        last = self.points + sides[:, 2:] * self.scale
        boxes = torch.cat([first, last], dim=1).clamp(0, 1)
        scores = _flat(cls_scores, self.per_cell).sigmoid()
        return boxes.transpose(1, 2), scores * _has_area(boxes)


class YoloxDecoder(_PointDecoder):
    """Decodes YOLOX, which predicts offsets and logarithmic sizes in strides.

    Boxes are not clipped. Only the best class of each point has a score; the others have 0.
    """

    def forward(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        objectnesses: Sequence[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Decode the maps of one batch.

        Args:
            cls_scores: for each level (N, C, h, w), logits.
            bbox_preds: for each level (N, 4, h, w), center offsets and logarithms of the size.
            objectnesses: for each level (N, 1, h, w), logits.
        """
        preds = _flat(bbox_preds, self.per_cell)
        centers = self.points + preds[:, :2] * self.strides
        half = preds[:, 2:].exp() * self.strides / 2
        boxes = torch.cat([centers - half, centers + half], dim=1)
        classes = _flat(cls_scores, self.per_cell).sigmoid()
        best = classes == classes.amax(dim=1, keepdim=True)
        scores = classes * best * _flat(objectnesses, self.per_cell).sigmoid()
        return boxes.transpose(1, 2), scores


def _priors(head: nn.Module, input_size: Sequence[int], **options: bool) -> Tensor:
    """Priors (1, D, A) in pixels, level by level, in the order of `_flat`."""
    width, height = input_size
    generator = head.prior_generator
    sizes = [
        (math.ceil(height / stride[1]), math.ceil(width / stride[0]))
        for stride in generator.strides
    ]
    levels = generator.grid_priors(sizes, device="cpu", **options)  # priors of a cell are adjacent
    priors = [
        level.unflatten(0, (-1, count)).transpose(0, 1).flatten(0, 1)
        for level, count in zip(levels, generator.num_base_priors, strict=True)
    ]
    return torch.cat(priors).T[None]


def _flat(levels: Sequence[Tensor], per_cell: Sequence[int]) -> Tensor:
    """Join the maps (N, P·D, h, w) of all levels, with P priors per cell, to (N, D, A)."""
    flat = [
        level.flatten(2)
        if count == 1
        else level.unflatten(1, (count, -1)).transpose(1, 2).flatten(2)
        for level, count in zip(levels, per_cell, strict=True)
    ]
    return torch.cat(flat, dim=2)


def _has_area(boxes: Tensor) -> Tensor:
    """Whether boxes (N, 4, A), xyxy, have area after clipping or negative distances: (N, 1, A)."""
    return (boxes[:, 2:3] > boxes[:, :1]) & (boxes[:, 3:] > boxes[:, 1:2])


#: Decoders by the exact class of the head, because a subclass may decode differently.
_DECODERS = {
    "ATSSHead": AnchorDecoder,
    "SSDHead": AnchorDecoder,
    "YOLOXHead": YoloxDecoder,
    "RTMDetHead": RtmdetDecoder,
    "RTMDetSepBNHead": RtmdetDecoder,
}


def build_decoder(head: nn.Module, input_size: Sequence[int]) -> nn.Module:
    """Build the decoder of a head.

    Args:
        head: the head of an MMDetection detector.
        input_size: width and height of the network's input in pixels.

    Raises:
        InputError: the head's class has no decoder.
    """
    family = type(head).__name__
    if family not in _DECODERS:
        raise InputError(
            f"model.bbox_head: found {family}, which has no decoder and cannot be exported to "
            f"OpenVINO. Expected one of: {', '.join(_DECODERS)}."
        )
    return _DECODERS[family](head, input_size)
