"""Accuracy budget: how far the F-measure of a quantized model may drop."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from detmake.errors import InputError

#: Ends of an interval.
Interval = tuple[float, float]

log = logging.getLogger("detmake")

#: Keys of each section of the configuration that may bring a model back within its budget.
_REMEDIES = {
    "pot_parameters": "{0}.preset: auto, a larger {0}.stat_subset_size or {0}.max_models, or, on a "
    "CPU without VNNI, {0}.target: any",
    "nncf_optimization": "a larger {0}.epochs or {0}.stat_subset_size, the other {0}.preset, or, "
    "on a CPU without VNNI, post-training quantization with pot_parameters.target: any",
}


@dataclass(frozen=True)
class Budget:
    """The largest drop of F-measure that quantization may cause.

    Attributes:
        original: F-measure of the floating-point model on the validation subset, in [0, 1].
        points: the largest drop, in points: 1.0 is 0.01 of F-measure.

    Raises:
        InputError: the floating-point model finds nothing, so it has no accuracy to keep.
    """

    original: float
    points: float

    def __post_init__(self) -> None:
        if not self.original:
            raise InputError(
                "The model to quantize finds nothing on the val subset: its F-measure is 0. Train "
                "it until it finds something, with more learning_parameters.epochs or another "
                "learning_parameters.learning_rate, and check the annotations of val."
            )

    def drop(self, f_measure: float) -> float:
        """Return the drop from the original F-measure in points; negative for a gain."""
        return 100 * (self.original - f_measure)

    def allows(self, f_measure: float, share: float = 1.0) -> bool:
        """Return whether an F-measure is within the budget, or a share of it."""
        return self.drop(f_measure) <= share * self.points + 1e-9

    def undecided(self, interval: Interval) -> bool:
        """Return whether the interval of a drop contains the budget."""
        low, high = interval
        return low <= self.points < high

    def report(self, f_measure: float, interval: Interval | None = None) -> str:
        """Return an F-measure and its drop from the original as text for the log."""
        drop = self.drop(f_measure)
        relative = drop / self.original
        noise = f", 95 % interval {interval[0]:.2f} to {interval[1]:.2f}" if interval else ""
        return (
            f"F-measure {f_measure:.4f}, original {self.original:.4f}, drop {drop:.2f} points "
            f"({relative:.2f} %{noise}), budget {self.points:g} points"
        )

    def describe(self, f_measure: float, interval: Interval | None = None) -> dict[str, Any]:
        """Return the entries of `performance.json` on the accuracy of a quantized model.

        Args:
            f_measure: F-measure of the quantized model on the validation subset.
            interval: the 95 % interval of its drop, in points; None leaves it out.
        """
        noise = {}
        if interval:
            ends = [round(end, 4) for end in interval]
            noise = {"drop_interval_points": ends, "undecided": self.undecided(interval)}
        return {
            "f-measure_original": self.original,
            "f-measure_quantized": f_measure,
            "drop_points": round(self.drop(f_measure), 4),
            "maximal_accuracy_degradation": self.points,
            "within_budget": self.allows(f_measure),
            **noise,
        }

    @classmethod
    def described(cls, description: Mapping[str, Any]) -> tuple[Self, float]:
        """Return the budget and the quantized F-measure of which `describe` made a description."""
        budget = cls(description["f-measure_original"], description["maximal_accuracy_degradation"])
        return budget, description["f-measure_quantized"]

    def enforce(self, f_measure: float, on_degradation: str, key: str, tried: str = "") -> None:
        """Refuse a model that exceeds the budget, or warn about it.

        Args:
            f_measure: F-measure of the quantized model on the validation subset.
            on_degradation: `fail` or `warn`.
            key: section of the configuration that holds the budget: `pot_parameters` or
                `nncf_optimization`.
            tried: a table of the models that were measured, for the message.

        Raises:
            InputError: the model exceeds the budget and `on_degradation` is `fail`.
        """
        if self.allows(f_measure):
            return
        message = f"The quantized model is beyond its budget: {self.report(f_measure)}."
        if on_degradation == "warn":
            log.warning("%s It is kept because %s.on_degradation is warn.", message, key)
            return
        advice = (
            f"Try {_REMEDIES[key].format(key)}. To accept a larger drop, raise "
            f"{key}.maximal_accuracy_degradation. To keep the model anyway, set "
            f"{key}.on_degradation: warn."
        )
        raise InputError("\n".join(filter(None, (message, tried, advice))))
