"""Recipes of post-training quantization: how NNCF sets the ranges of a model's activations."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import nncf
import numpy as np
import openvino as ov
from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
from nncf.quantization.range_estimator import (
    AggregatorType,
    RangeEstimatorParameters,
    RangeEstimatorParametersSet,
    StatisticsCollectorParameters,
    StatisticsType,
)

from detmake.quantization.input_range import widen
from detmake.runtime import openvino_core
from detmake.runtime.images import read_image
from detmake.runtime.inference import LARGE

nncf.set_log_level(logging.WARNING)  # do not list every node that stays in floating point
# NNCF makes cores, too, which would come and go beside the one of this process.
ov.Core = openvino_core.core


@dataclass(frozen=True)
class Recipe:
    """A way to quantize.

    Attributes:
        name: for logs and `performance.json`.
        preset: `performance` (symmetric quantization) or `mixed` (asymmetric activations).
        ranges: how the range of an activation follows from calibration images. NNCF's default is
            the mean over the images of each image's minimum and maximum.
        overflow_fix: layers whose weights use half their range. 8-bit sums of the others saturate
            on a CPU without VNNI.
    """

    name: str
    preset: nncf.QuantizationPreset
    ranges: RangeEstimatorParameters = field(default_factory=RangeEstimatorParameters)
    overflow_fix: OverflowFix = OverflowFix.FIRST_LAYER


def _outer_percentiles(outliers: float) -> RangeEstimatorParameters:
    """The widest range over the images, of each without a share of outliers at either end."""

    def collector(aggregator: AggregatorType) -> StatisticsCollectorParameters:
        return StatisticsCollectorParameters(
            StatisticsType.QUANTILE, aggregator, quantile_outlier_prob=outliers
        )

    return RangeEstimatorParameters(collector(AggregatorType.MIN), collector(AggregatorType.MAX))


_PERFORMANCE, _MIXED = nncf.QuantizationPreset.PERFORMANCE, nncf.QuantizationPreset.MIXED
_MINMAX = RangeEstimatorParametersSet.MINMAX

#: The recipes of `pot_parameters.preset: auto`. Asymmetric activations make a model slower, so
#: they come later; so do ranges that take longer to find.
LADDER = (
    Recipe("performance", _PERFORMANCE),
    Recipe("performance, min-max", _PERFORMANCE, _MINMAX),
    Recipe("performance, min-max, half-range weights", _PERFORMANCE, _MINMAX, OverflowFix.ENABLE),
    Recipe("mixed", _MIXED),
    Recipe("mixed, min-max", _MIXED, _MINMAX),
    Recipe("mixed, histogram", _MIXED, RangeEstimatorParametersSet.HISTOGRAM),
    Recipe("mixed, percentiles", _MIXED, _outer_percentiles(1e-3)),
)


def recipes(preset: str, target: str) -> list[Recipe]:
    """Return the recipes to try, in order.

    Args:
        preset: `auto` for the whole ladder, or the name of one recipe.
        target: `vnni`, or `any`: weights of all layers use half their range.
    """
    chosen = [recipe for recipe in LADDER if preset in ("auto", recipe.name)]
    if target == "vnni":
        return chosen
    every = OverflowFix.ENABLE
    return [
        replace(recipe, overflow_fix=every) for recipe in chosen if recipe.overflow_fix != every
    ]


def shrunk(image: np.ndarray) -> np.ndarray:
    """Shrink an image of more than 50 megapixels to so many: statistics take gigabytes of memory.

    The network takes it in its own, smaller size anyway.

    Args:
        image: (H, W, 3) uint8.
    """
    if image.nbytes <= LARGE:
        return image
    factor = math.sqrt(LARGE / image.nbytes)
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def quantize(
    model: ov.Model,
    images: Sequence[Path],
    recipe: Recipe,
    in_floating_point: Sequence[str] = (),
) -> ov.Model:
    """Quantize a floating-point model to int8.

    Args:
        model: a detector as `detmake.model.ir.convert` describes it.
        images: calibration images; all of them are used.
        recipe: the recipe.
        in_floating_point: names of layers to leave in floating point.
    """
    quantized = nncf.quantize(
        model,
        nncf.Dataset(images, lambda path: shrunk(read_image(path))[np.newaxis]),
        preset=recipe.preset,
        subset_size=len(images),
        # Quantize the network's core: decoding and NMS stay in floating point.
        ignored_scope=nncf.IgnoredScope(
            names=list(in_floating_point), patterns=[".*decoder.*"], validate=False
        ),
        advanced_parameters=AdvancedQuantizationParameters(
            overflow_fix=recipe.overflow_fix,
            activations_range_estimator_params=recipe.ranges,
        ),
    )
    widen(quantized, recipe.preset)
    return quantized
