"""The budget of accuracy that a quantized model has."""

import logging
from dataclasses import dataclass
from typing import Any

from detmake.errors import InputError

log = logging.getLogger("detmake")


@dataclass(frozen=True)
class Budget:
    """How much lower than a floating-point model's the F-measure of a quantized one may be.

    Attributes:
        original: F-measure of the floating-point model on the validation subset, in [0, 1].
        points: the largest drop, in points: 1.0 is 0.01 of F-measure.
    """

    original: float
    points: float

    def drop(self, f_measure: float) -> float:
        """How much lower an F-measure is than the original, in points; negative if it is higher."""
        return 100 * (self.original - f_measure)

    def allows(self, f_measure: float) -> bool:
        """Whether an F-measure is within the budget."""
        return self.drop(f_measure) <= self.points + 1e-9

    def report(self, f_measure: float) -> str:
        """An F-measure beside the original one, for the log."""
        drop = self.drop(f_measure)
        relative = 100 * drop / (100 * self.original) if self.original else 0.0
        return (
            f"F-measure {f_measure:.4f}, original {self.original:.4f}, drop {drop:.2f} points "
            f"({relative:.2f} %), budget {self.points:g} points"
        )

    def describe(self, f_measure: float) -> dict[str, Any]:
        """What `performance.json` tells of a quantization, as measured on the validation subset."""
        return {
            "f-measure_original": self.original,
            "f-measure_quantized": f_measure,
            "drop_points": round(self.drop(f_measure), 4),
            "maximal_accuracy_degradation": self.points,
            "within_budget": self.allows(f_measure),
        }

    def enforce(self, f_measure: float, on_degradation: str, key: str) -> None:
        """Refuse a model beyond the budget, or warn of it.

        Args:
            f_measure: F-measure of the quantized model on the validation subset.
            on_degradation: `fail` or `warn`.
            key: section of the configuration that holds the budget, for the message.

        Raises:
            InputError: the budget is exceeded and `on_degradation` is `fail`.
        """
        if self.allows(f_measure):
            return
        message = f"The quantized model is beyond its budget: {self.report(f_measure)}."
        if on_degradation == "warn":
            log.warning("%s It is kept, as %s.on_degradation says.", message, key)
            return
        raise InputError(
            f"{message}\nRaise {key}.num_iters or {key}.stat_subset_size, take the other "
            f"{key}.preset, allow more with {key}.maximal_accuracy_degradation, or keep the model "
            f"all the same with {key}.on_degradation: warn."
        )
