"""What one would believe after a reading, before it is made: regression on the draws of a posterior.

Every draw says what would be read, and how each of the acts that one may choose then ends. The ends regressed on the reading
are their means given it (Strong, Oakley, Brennan & Breeze 2015, Medical Decision Making 35(5)). Draws that fit the regression
do not judge it: each half of them is judged by the rule of the other half.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from bayes_tsl._common.intervals import evenly

Array = NDArray[np.float64]

_HALVES = ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2)))
_MOST = 3  # readings that a regression is made of: of more, these evenly, the last among them


def believed(ends: Array, reading: Array) -> Array:
    """Mean of the ends (act, draw) given what is read (draw, step), each half of the draws by the rule of the other half.

    >>> reading = np.random.default_rng(0).standard_normal((1000, 1))
    >>> ends = np.stack([reading[:, 0], np.ones(1000)])
    >>> (ends - believed(ends, reading)).std(axis=1).round(2).tolist()
    [0.05, 0.0]
    """
    basis, made = _basis(reading), np.empty_like(ends)
    for learn, judge in _HALVES:
        made[:, judge] = (basis[judge] @ np.linalg.lstsq(basis[learn], ends[:, learn].T)[0]).T
    return made


def lowest_believed(ends: Array, believed: Array) -> Array:
    """The end under the act that is believed to end lowest (draw), both by act and draw.

    >>> lowest_believed(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 5.0], [2.0, 3.0]])).tolist()
    [1.0, 4.0]
    """
    return np.take_along_axis(ends, believed.argmin(axis=0)[None], axis=0)[0]


def _basis(reading: Array) -> Array:
    """Quadratics in the normal scores of a few of the readings (draw, term)."""
    few = reading[:, np.unique(evenly(reading.shape[1], _MOST))]
    score = ndtri((np.argsort(np.argsort(few, axis=0), axis=0) + 0.5) / len(few))
    products = [score[:, i] * score[:, j] for i in range(score.shape[1]) for j in range(i + 1)]
    return np.column_stack([np.ones(len(score)), score, *products])
