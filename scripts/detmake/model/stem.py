"""YOLOX's stem as one convolution, which inference runs faster."""

from collections import OrderedDict

import torch
from mmdet.models.backbones.csp_darknet import Focus
from torch import nn


@torch.no_grad()
def merge_focus(network: nn.Module) -> None:
    """Turn each `Focus` in a network into a convolution of stride 2 that gives the same maps.

    `Focus` stacks the four pixels of each 2 × 2 block and convolves them. OpenVINO copies the
    pixels by a slow reference implementation, in floating point even in an int8 model. Weights keep
    their names; those of the convolution get another shape.

    Args:
        network: changed in place, such as a `detmake.model.network.Core` with its weights.
    """
    for parent in [*network.modules()]:
        for name, stem in [*parent.named_children()]:
            if isinstance(stem, Focus):
                stem.conv.conv = _merged(stem.conv.conv)
                setattr(parent, name, nn.Sequential(OrderedDict(conv=stem.conv)))


def _merged(conv: nn.Conv2d) -> nn.Conv2d:
    """Return the convolution of pixels that equals a convolution of stacked pixels."""
    (height, width), channels = conv.kernel_size, conv.in_channels // 4
    merged = nn.Conv2d(
        channels,
        conv.out_channels,
        (2 * height, 2 * width),
        stride=tuple(2 * step for step in conv.stride),
        padding=tuple(2 * pixels for pixels in conv.padding),
        bias=conv.bias is not None,
    )
    # `Focus` stacks by column of the block, then by its row, then by channel.
    blocks = conv.weight.view(-1, 2, 2, channels, height, width)
    merged.weight.copy_(blocks.permute(0, 3, 4, 2, 5, 1).reshape(merged.weight.shape))
    if conv.bias is not None:
        merged.bias.copy_(conv.bias)
    return merged.to(memory_format=torch.channels_last)
