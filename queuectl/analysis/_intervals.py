"""Intervals for shares and ratios of rates, vectorised over numpy arrays."""

from statistics import NormalDist

import numpy as np

from queuectl.analysis._rows import Floats, Ints
from queuectl.errors import InvalidValue


def normal_quantile(confidence: float) -> float:
    """z of a two-sided interval: 1.96 for 0.95.

    Raises:
        InvalidValue: confidence is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise InvalidValue(f"confidence: expected a number between 0 and 1 such as 0.95, got {confidence!r}")
    return NormalDist().inv_cdf((1 + confidence) / 2)


def share(part: Ints | Floats, n: Ints | Floats) -> Floats:
    """part / n; NaN where n is 0."""
    return np.divide(part, n, out=np.full(np.shape(n), np.nan), where=np.asarray(n) > 0)


def wilson(hits: Ints | Floats, n: Ints | Floats, z: float) -> tuple[Floats, Floats]:
    """Score interval of hits out of n: all p with |hits/n − p| ≤ z·√(p(1−p)/n). (0, 1) where n is 0.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22, 1927.
    """
    hits, n = np.asarray(hits, float), np.asarray(n, float)
    centre = (hits + z * z / 2) / (n + z * z)
    half = z * np.sqrt(np.maximum(hits * (1 - share(hits, np.maximum(n, 1))), 0) + z * z / 4) / (n + z * z)
    # At the ends the formula is exactly 0 or 1 (and holds hits/n); rounding must not miss it by an ulp.
    lo = np.where(hits <= 0, 0.0, np.maximum(centre - half, 0))
    hi = np.where(hits >= n, 1.0, np.minimum(centre + half, 1))
    return lo, hi


def rate_ratio(
    later: Ints, earlier: Ints, later_n: Ints | Floats, earlier_n: Ints | Floats, z: float
) -> tuple[Floats, Floats, Floats]:
    """Ratio of two rates (later/later_n) / (earlier/earlier_n) with its score interval.

    Given later + earlier events, the later count is binomial with p = r·m/(1 + r·m), where r is the ratio and
    m = later_n/earlier_n; Wilson's interval for p is carried over to r. An earlier count of 0 gives ∞ above.

    Source: Przyborowski & Wilenski, Biometrika 31, 1940 (the condition); Wilson 1927 (the interval). The same
    as the score interval for two Poisson rates of Graham, Mengersen & Morton, Statistics in Medicine 22,
    2003.
    """
    lo, hi = wilson(later, later + earlier, z)
    exposure = share(np.asarray(earlier_n, float), np.asarray(later_n, float))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.divide(later, earlier) * exposure
        return ratio, lo / (1 - lo) * exposure, hi / (1 - hi) * exposure
