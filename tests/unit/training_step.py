"""Gradients of one training step, in one process or in several that share the batch."""

import sys
from pathlib import Path

import template_files
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import nn

from detmake.model.network import build_detector, model_config
from detmake.training import distributed

IMAGES = 4
BOXES = [(5, 1), (0, 2), (1, 3), (3, 0)]  # number of boxes of each class


def new_detector(template: str, classes: int) -> nn.Module:
    """A detector with initial weights that predicts boxes with an area."""
    model = template_files.load(template)["model"]
    template_files.fit_anchors(model)
    torch.manual_seed(0)
    detector = build_detector(model_config(model, classes))
    detector.init_weights()
    if hasattr(detector.bbox_head, "rtm_reg"):  # RTMDet: boxes without area match nothing
        for layer in detector.bbox_head.rtm_reg:
            nn.init.ones_(layer.bias)
    return detector


def gradients(template: str, images: range, wrap=lambda model: model) -> dict[str, torch.Tensor]:
    """Gradients from some images of the batch, by parameter name."""
    detector = new_detector(template, 2)
    for module in detector.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    inputs = torch.randn(IMAGES, 3, 96, 128)
    samples = [random_sample(index) for index in images]
    network = wrap(detector)
    losses = network(inputs[images.start : images.stop : images.step], samples, mode="loss")
    detector.parse_losses(losses)[0].backward()
    return {name: p.grad for name, p in detector.named_parameters() if p.grad is not None}


def random_sample(index: int) -> DetDataSample:
    """The annotations of an image of the batch."""
    generator = torch.Generator().manual_seed(index)
    labels = torch.cat([torch.full((n,), label) for label, n in enumerate(BOXES[index])])
    corners = torch.rand(len(labels), 2, generator=generator) * 60
    sides = torch.rand(len(labels), 2, generator=generator) * 30 + 5
    return sample(torch.cat([corners, corners + sides], 1), labels)


def sample(boxes: torch.Tensor, labels: torch.Tensor) -> DetDataSample:
    """Annotations of an image of 128×96 pixels."""
    shape = (96, 128)
    return DetDataSample(
        metainfo={
            "img_shape": shape,
            "pad_shape": shape,
            "ori_shape": shape,
            "batch_input_shape": shape,
            "scale_factor": (1, 1),
        },
        gt_instances=InstanceData(bboxes=boxes, labels=labels),
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    with distributed.member() as rank:
        for name in template_files.NAMES:
            found = gradients(name, range(rank, IMAGES, 2), distributed.wrap)
            if rank == 0:
                torch.save(found, folder / f"{name}.pth")
