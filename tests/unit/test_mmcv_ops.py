"""MMCV's operators in plain torch, checked against independent implementations."""

import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from openvino import opset9 as opset

from detmake.model import mmcv_ops

SCRIPTS = Path(__file__).parents[2] / "scripts"
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(scope="module")
def ops():
    """MMCV's public operators."""
    mmcv_ops.install()
    import mmcv.ops

    return mmcv.ops


@pytest.fixture(scope="module")
def py_sigmoid_focal_loss(ops):
    """MMDetection's own focal loss in torch, with torch's gradients."""
    from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss

    return py_sigmoid_focal_loss


def run(code, *arguments):
    """Run code in a new Python process, in which nothing is imported yet."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd=SCRIPTS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# Installation


def test_mmcv_and_mmdetection_import_with_the_python_operators():
    run(
        """
        import sys

        from detmake.model import mmcv_ops

        mmcv_ops.install()
        installed = sys.modules["mmcv._ext"]
        assert installed.nms is mmcv_ops.nms
        mmcv_ops.install()
        assert sys.modules["mmcv._ext"] is installed, "the operators were installed again"

        import mmcv.ops
        import mmdet.models
        from mmengine.utils.dl_utils import mmcv_full_available

        assert mmcv_full_available()
        """
    )


def test_compiled_operators_are_kept(tmp_path):
    (tmp_path / "_ext.py").write_text("compiled = True\n")
    run(
        """
        import sys

        import mmcv

        from detmake.model import mmcv_ops

        mmcv.__path__.append(sys.argv[1])
        mmcv_ops.install()
        assert "mmcv._ext" not in sys.modules, "the compiled operators were replaced"

        import mmcv._ext

        assert mmcv._ext.compiled
        mmcv_ops.install()  # after they were imported
        assert sys.modules["mmcv._ext"].compiled
        """,
        tmp_path,
    )


def test_a_call_of_a_missing_operator_names_it(ops):
    features, rois = torch.zeros(1, 1, 4, 4), torch.tensor([[0.0, 0.0, 0.0, 2.0, 2.0]])
    with pytest.raises(NotImplementedError, match="'roi_align_forward'"):
        ops.roi_align(features, rois, 2)


# Non-maximum suppression


def brute_force_nms(boxes, scores, iou_threshold, offset=0):
    """NMS by definition, in double precision: compare each box with all boxes kept before it."""
    boxes = np.asarray(boxes, dtype=float)
    lower = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    upper = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    overlaps = np.prod(np.maximum(upper - lower + offset, 0), axis=2)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2] + offset, axis=1)
    with np.errstate(invalid="ignore"):
        ious = overlaps / (areas[:, None] + areas[None, :] - overlaps)
    kept = []
    for box in sorted(range(len(boxes)), key=lambda box: -scores[box]):
        if not any(ious[box, other] > iou_threshold for other in kept):
            kept.append(box)
    return kept


@cache
def _openvino_nms(iou_threshold, offset):
    boxes = opset.parameter([1, -1, 4], np.float32)
    scores = opset.parameter([1, -1, -1], np.float32)
    kept = opset.multiclass_nms(
        boxes,
        scores,
        sort_result_type="score",
        sort_result_across_batch=False,
        output_type="i64",
        iou_threshold=iou_threshold,
        score_threshold=0.001,
        nms_top_k=-1,
        keep_top_k=-1,
        normalized=offset == 0,
    )
    return ov.compile_model(
        ov.Model(kept.outputs(), [boxes, scores]), "CPU", {"INFERENCE_NUM_THREADS": 1}
    )


def openvino_nms(boxes, scores, iou_threshold, offset=0):
    """Indices and classes of the boxes that OpenVINO keeps; scores (C, N)."""
    found = _openvino_nms(iou_threshold, offset)([boxes[None], scores[None]])
    count = found[2][0]
    return found[1][:count, 0].tolist(), found[0][:count, 0].astype(int).tolist()


def random_boxes(rng, count):
    """Boxes (N, 4), xyxy, in clusters of four similar ones, and their scores (N,)."""
    corners = rng.uniform(0, 100, (count // 4, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 50, corners.shape)], axis=1)
    boxes = np.repeat(boxes, 4, axis=0) + rng.normal(0, 1, (count, 4))
    return boxes.astype(np.float32), rng.uniform(0.01, 1, count).astype(np.float32)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("iou_threshold", [0.1, 0.3, 0.6, 0.9])
def test_nms_keeps_what_brute_force_and_openvino_keep(iou_threshold, offset, device):
    for seed in range(3):
        boxes, scores = random_boxes(np.random.default_rng(seed), 200)
        found = mmcv_ops.nms(
            torch.from_numpy(boxes).to(device),
            torch.from_numpy(scores).to(device),
            iou_threshold,
            offset,
        )
        assert found.dtype == torch.int64
        assert found.device.type == device
        assert 1 < len(found) < 200
        assert found.tolist() == brute_force_nms(boxes, scores, iou_threshold, offset)
        assert found.tolist() == openvino_nms(boxes, scores[None], iou_threshold, offset)[0]


def one_at_a_time_nms(boxes, scores, iou_threshold, offset=0):
    """NMS with MMCV's arithmetic in single precision: each kept box removes those after it."""
    corners = boxes.float()
    x1, y1, x2, y2 = corners.unbind(dim=1)
    areas = (x2 - x1 + offset) * (y2 - y1 + offset)
    order = scores.float().argsort(descending=True, stable=True)
    kept = []
    while order.numel():
        best, order = order[0], order[1:]
        kept.append(int(best))
        width = torch.minimum(x2[order], x2[best]) - torch.maximum(x1[order], x1[best]) + offset
        height = torch.minimum(y2[order], y2[best]) - torch.maximum(y1[order], y1[best]) + offset
        overlap = width.clamp(min=0) * height.clamp(min=0)
        iou = overlap / (areas[order] + areas[best] - overlap)
        order = order[~(iou > iou_threshold)]
    return kept


def boxes_on_a_grid(rng, count):
    """Boxes with whole corners: equal ones, ones without area, IoU equal to the threshold."""
    corners = rng.integers(0, 12, (count, 2))
    boxes = np.concatenate([corners, corners + rng.integers(0, 5, (count, 2))], axis=1)
    return boxes.astype(np.float32), rng.choice(np.float32([0.2, 0.4, 0.6]), count)


def boxes_with_bad_numbers(rng, count):
    """Boxes and scores of which some are nan or infinite, and boxes turned inside out."""
    boxes, scores = random_boxes(rng, count)
    boxes[rng.random((count, 4)) < 0.02] = np.nan
    boxes[rng.random((count, 4)) < 0.02] = np.inf
    boxes[::17] = boxes[::17, [2, 3, 0, 1]]
    scores[::13], scores[::29] = np.nan, -np.inf
    return boxes, scores


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("make", [random_boxes, boxes_on_a_grid, boxes_with_bad_numbers])
@pytest.mark.parametrize("count", [4, 64, 68, 1000])
def test_nms_in_blocks_equals_nms_one_at_a_time(count, make, offset, device):
    for seed, iou_threshold in enumerate((0.0, 0.25, 0.6)):
        boxes, scores = map(torch.from_numpy, make(np.random.default_rng(seed), count))
        found = mmcv_ops.nms(boxes.to(device), scores.to(device), iou_threshold, offset)
        assert found.tolist() == one_at_a_time_nms(boxes, scores, iou_threshold, offset)


def test_nms_keeps_the_boxes_found_by_hand():
    boxes = torch.tensor(
        [
            [0.0, 0.0, 10.0, 10.0],
            [0.0, 0.0, 10.0, 5.0],  # IoU 0.5 with the first: not above the threshold
            [0.0, 0.0, 10.0, 6.0],  # IoU 0.6 with the first
            [0.0, 0.0, 10.0, 4.0],  # IoU 0.8 with the second, 0.4 with the first
            [50.0, 50.0, 60.0, 60.0],
        ]
    )
    scores = torch.tensor([0.8, 0.7, 0.6, 0.5, 0.9])
    assert mmcv_ops.nms(boxes, scores, 0.5).tolist() == [4, 0, 1]


def test_the_offset_includes_the_last_pixel():
    # With the offset, 5 of 15 pixels are common; without it, the boxes have no area.
    boxes = torch.tensor([[0.0, 0.0, 9.0, 0.0], [5.0, 0.0, 14.0, 0.0]])
    scores = torch.tensor([0.9, 0.8])
    assert mmcv_ops.nms(boxes, scores, 0.3, offset=1).tolist() == [0]
    assert mmcv_ops.nms(boxes, scores, 0.34, offset=1).tolist() == [0, 1]
    assert mmcv_ops.nms(boxes, scores, 0.3, offset=0).tolist() == [0, 1]  # no area


@pytest.mark.parametrize("device", DEVICES)
def test_nms_accepts_no_boxes(ops, device):
    boxes, scores = torch.zeros(0, 4, device=device), torch.zeros(0, device=device)
    found = mmcv_ops.nms(boxes, scores, 0.5)
    assert found.shape == (0,)
    assert found.dtype == torch.int64
    assert found.device.type == device
    detections, indices = ops.nms(boxes, scores, 0.5)
    assert detections.shape == (0, 5)
    assert indices.shape == (0,)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.half])
def test_nms_accepts_half_precision_boxes(dtype):
    boxes, scores = random_boxes(np.random.default_rng(0), 100)
    boxes, scores = torch.from_numpy(boxes).to(dtype), torch.from_numpy(scores).to(dtype)
    expected = brute_force_nms(boxes.double().numpy(), scores.double().numpy(), 0.5)
    assert mmcv_ops.nms(boxes, scores, 0.5).tolist() == expected


@pytest.mark.parametrize("split_thr", [10000, 10])
def test_mmcv_batched_nms_suppresses_within_a_class_only(ops, split_thr):
    boxes, scores = random_boxes(np.random.default_rng(0), 200)
    labels = np.random.default_rng(1).integers(0, 3, 200)
    by_class = np.where(labels == np.arange(3)[:, None], scores, np.float32(0))  # (C, N)
    expected, expected_labels = openvino_nms(boxes, by_class, 0.4)

    detections, indices = ops.batched_nms(
        torch.from_numpy(boxes),
        torch.from_numpy(scores),
        torch.from_numpy(labels),
        {"type": "nms", "iou_threshold": 0.4, "split_thr": split_thr},
    )
    assert indices.tolist() == expected
    assert labels[indices].tolist() == expected_labels
    np.testing.assert_array_equal(
        detections.numpy(), np.column_stack([boxes, scores])[indices.numpy()]
    )
    assert len(expected) > len(brute_force_nms(boxes, scores, 0.4))


# Focal loss


def reference_loss(logits, target, gamma, alpha, weight=None):
    """Equation 5 of Lin et al. (2017) for sigmoid outputs, in double precision: (N, C)."""
    logits = np.asarray(logits, dtype=float)
    sign = np.where(np.arange(logits.shape[1]) == np.asarray(target)[:, None], 1.0, -1.0)
    log_p_t = -np.logaddexp(0, -sign * logits)
    p_t = np.exp(log_p_t)
    alpha_t = np.where(sign > 0, alpha, 1 - alpha)
    loss = -alpha_t * (1 - p_t) ** gamma * log_p_t
    if weight is not None:
        loss *= np.append(weight, 1.0)[target][:, None]
    return loss


def reference_gradient(logits, *args, step=1e-5):
    """Central differences: each element of the loss depends only on its own logit."""
    logits = np.asarray(logits, dtype=float)
    higher, lower = (reference_loss(logits + s, *args) for s in (step, -step))
    return (higher - lower) / (2 * step)


def random_case(device="cpu", count=60, num_classes=4):
    """Logits (N, C), and targets (N,) of which some are background."""
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(0, 3, (count, num_classes)).astype(np.float32))
    target = torch.from_numpy(rng.integers(0, num_classes + 1, count))
    assert set(target.tolist()) == set(range(num_classes + 1))
    return logits.to(device), target.to(device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("alpha", [0.25, 0.8])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 3.5])
def test_focal_loss_and_gradient_equal_the_references(
    ops, py_sigmoid_focal_loss, gamma, alpha, device
):
    logits, target = random_case(device)
    factors = torch.rand(logits.shape, generator=torch.Generator().manual_seed(0)).to(device)

    leaf = logits.clone().requires_grad_()
    loss = ops.sigmoid_focal_loss(leaf, target, gamma, alpha, None, "none")
    (loss * factors).sum().backward()

    one_hot = torch.nn.functional.one_hot(target, 5)[:, :4]
    theirs = logits.clone().requires_grad_()
    their_loss = py_sigmoid_focal_loss(theirs, one_hot, gamma=gamma, alpha=alpha, reduction="none")
    (their_loss * factors).sum().backward()
    torch.testing.assert_close(loss, their_loss, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(leaf.grad, theirs.grad, rtol=1e-4, atol=1e-7)

    args = (target.cpu().numpy(), gamma, alpha)
    np.testing.assert_allclose(
        loss.detach().cpu(), reference_loss(logits.cpu(), *args), rtol=1e-5, atol=1e-6
    )
    expected = reference_gradient(logits.cpu(), *args) * factors.cpu().numpy()
    np.testing.assert_allclose(leaf.grad.cpu(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("reduction", "divisor"), [("sum", 1), ("mean", 60)])
def test_the_focal_loss_is_reduced_as_asked(ops, reduction, divisor):
    logits, target = random_case()
    leaf = logits.clone().requires_grad_()
    loss = ops.sigmoid_focal_loss(leaf, target, 2.0, 0.25, None, reduction)
    (3 * loss).backward()
    args = (target.numpy(), 2.0, 0.25)
    assert loss.item() == pytest.approx(reference_loss(logits, *args).sum() / divisor, rel=1e-5)
    expected = 3 * reference_gradient(logits, *args) / divisor
    np.testing.assert_allclose(leaf.grad, expected, rtol=1e-4, atol=1e-6)


def test_the_focal_loss_applies_class_weights(ops):
    logits, target = random_case()
    weight = torch.tensor([0.5, 2.0, 0.0, 7.0])
    leaf = logits.clone().requires_grad_()
    loss = ops.sigmoid_focal_loss(leaf, target, 2.0, 0.25, weight, "none")
    loss.sum().backward()
    args = (target.numpy(), 2.0, 0.25, weight.numpy())
    np.testing.assert_allclose(loss.detach(), reference_loss(logits, *args), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(leaf.grad, reference_gradient(logits, *args), rtol=1e-4, atol=1e-6)
    assert not loss[target == 2].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.half])
def test_the_focal_loss_accepts_half_precision_logits(ops, dtype):
    logits, target = random_case()
    logits = logits.to(dtype)
    leaf = logits.clone().requires_grad_()
    loss = ops.sigmoid_focal_loss(leaf, target, 2.0, 0.25, None, "none")
    loss.sum().backward()
    assert loss.dtype == leaf.grad.dtype == dtype
    # Computed in single precision, so only the result is rounded.
    args = (target.numpy(), 2.0, 0.25)
    precision = torch.finfo(dtype).eps
    for found, reference in ((loss.detach(), reference_loss), (leaf.grad, reference_gradient)):
        expected = reference(logits.float(), *args)
        np.testing.assert_allclose(found.float(), expected, rtol=precision, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_the_focal_loss_of_extreme_logits_is_finite(ops, gamma):
    logits = torch.tensor([[100.0, -100.0], [-100.0, 100.0]], requires_grad=True)
    target = torch.tensor([0, 0])
    loss = ops.sigmoid_focal_loss(logits, target, gamma, 0.25, None, "none")
    loss.sum().backward()
    # The first row is right: no loss. The second is wrong: the logit times alpha or 1 - alpha.
    np.testing.assert_allclose(loss.detach(), [[0, 0], [25, 75]], atol=1e-6)
    np.testing.assert_allclose(logits.grad, [[0, 0], [-0.25, 0.75]], atol=1e-6)


def test_the_focal_loss_accepts_no_rows(ops):
    logits = torch.zeros(0, 3, requires_grad=True)
    loss = ops.sigmoid_focal_loss(logits, torch.zeros(0, dtype=torch.long), 2.0, 0.25, None, "sum")
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.shape == (0, 3)
