"""What a comparison could have seen: printed beside every "no difference"."""

from __future__ import annotations

import math
from statistics import NormalDist


def smallest_detectable_difference(standard_error: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """The true difference that a two-sided test at `alpha` finds with probability `power`.

    Args:
        standard_error: of the paired difference, in the metric's unit.

    Raises:
        ValueError: arguments out of range.
    """
    if standard_error < 0 or not 0 < alpha < 1 or not 0 < power < 1:
        raise ValueError(
            f"standard_error {standard_error}, alpha {alpha}, power {power}: need >= 0 and shares in (0, 1)"
        )
    normal = NormalDist()
    return (normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)) * standard_error


def questions_needed(difference: float, flips: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """Independent questions needed to find a difference between two models on the same questions.

    Args:
        difference: true difference of the two rates, in (0, 1).
        flips: share of questions on which exactly one of the two is right; at least `difference`.

    Source: the normal approximation to McNemar's test, n = (z_α/2 + z_power)² (flips − difference²) / difference².

    Raises:
        ValueError: arguments out of range.
    """
    if not 0 < difference <= flips <= 1:
        raise ValueError(f"difference {difference} and flips {flips}: need 0 < difference <= flips <= 1")
    normal = NormalDist()
    z = normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)
    return math.ceil(z * z * (flips - difference**2) / difference**2)
