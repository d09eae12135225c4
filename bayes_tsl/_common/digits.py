"""How many digits of a number to print: as many as its uncertainty leaves meaning to."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

_MOST = 6


def decimals(lower: ArrayLike, upper: ArrayLike) -> int:
    """Decimals that print half the width of an interval with two digits; of several intervals, of the narrowest.

    Args:
        lower: lower ends (any shape).
        upper: upper ends (the same shape).

    >>> decimals(3.42, 3.55), decimals([3.42, 3.4921], [3.55, 3.4979]), decimals(-2.0, 30.0)
    (3, 4, 0)
    """
    half = 0.5 * (np.asarray(upper, float) - np.asarray(lower, float))
    wide = half[np.isfinite(half) & (half > 0)]
    return int(np.clip(1 - np.floor(np.log10(wide.min())), 0, _MOST)) if wide.size else 4
