r"""The density of new checkpoints under every draw, and the drift at the last of them.

At a new checkpoint ``t``, with log progress ``u_t`` since the origin, the mean loss is

    z_t = law(u_t) + d_t + e_t + noise_scale n_t / sqrt(w_t),    w_t ~ Gamma(2, 2),

``d`` the drift, ``e`` the error that the noise at positions leaves in their mean, ``n`` normal, and ``w`` what makes the noise
Student-t: a mixture of normals over a grid of ``log w``, close enough to be called one. Given ``w``, value and speed of the
drift are a Gaussian that a Kalman filter carries from checkpoint to checkpoint. Every draw has one filter, that takes each
``w_t`` in turn from its distribution given ``z_t`` and all before, and gathers

    prod_t p(z_t | z_<t, w_<t),

which is the density of ``z`` on average over ``w``, and as a weight makes draws of parameters, ``w`` and drift together right
(mixture Kalman filter with optimal proposals; Chen & Liu, J. R. Stat. Soc. B 62:493, 2000).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from bayes_tsl.model.drift import DriftState, condition, predict
from bayes_tsl.model.single_run import TAIL

Array = NDArray[np.float64]

_LOG_WEIGHTS = np.linspace(-18.0, 4.0, 45)  # outliers of thousands of noise scales, and no density beyond


def filter_checkpoints(
    rng: np.random.Generator, off: Array, *, u: Array, drift_scale: Array, noise_scale: Array, error: float
) -> tuple[Array, DriftState]:
    """Log density of new checkpoints under every draw (draw), and the drift at the last of them given all.

    Args:
        rng: draws the noise weights.
        off: new mean losses less those by law (draw, step).  [nats]
        u: log progress of each since the origin, increasing (step).
        drift_scale: of every draw (draw).
        noise_scale: of every draw (draw).
        error: standard error of a mean over positions.  [nats]
    """
    from scipy.stats import gamma

    prior = gamma.logpdf(np.exp(_LOG_WEIGHTS), TAIL / 2.0, scale=2.0 / TAIL) + _LOG_WEIGHTS
    prior = prior - logsumexp(prior)
    variance = error**2 + noise_scale[:, None] ** 2 / np.exp(_LOG_WEIGHTS)
    power, density = drift_scale**2, np.zeros(len(off))
    state = DriftState(*np.zeros((5, len(off))))
    for observed, width in zip(off.T, np.diff(u, prepend=0.0)):
        ahead = predict(state, width, power)
        total = ahead.value_value[:, None] + variance
        residual = observed - ahead.value
        joint = prior - 0.5 * (residual[:, None] ** 2 / total + np.log(2.0 * np.pi * total))
        here = logsumexp(joint, axis=1)
        below = np.cumsum(np.exp(joint - here[:, None]), axis=1) < rng.random((len(off), 1))
        chosen = np.minimum(below.sum(axis=1), len(prior) - 1)
        state = condition(ahead, residual, total[np.arange(len(off)), chosen])
        density = density + here
    return density, state
