r"""The scaling law of finished runs of several sizes and lengths, and how far runs lie from it.

With ``N`` parameters and ``D`` tokens, each relative to the centre of the runs, the final loss of a run is

    E + A N^-alpha + B D^-beta + g(log N, log D) + noise,

the law of Hoffmann et al. (arXiv 2203.15556, equation 10) and a Gaussian process ``g``, since no family of runs follows the law
exactly (Kennedy & O'Hagan, JRSS B 2001): residuals of neighbouring runs are alike, and far from all runs ``g`` is as wide as
its prior. The noise is Student-t, a normal with a Gamma weight per run, so that a run that diverged widens nothing. Where
learning rates are known, the loss is a parabola in the log of the peak.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpy.typing import NDArray

from bayes_tsl._common.arrays import AnyArray
from bayes_tsl.model.priors import Prior, lognormal, normal
from bayes_tsl.model.single_run import TAIL

PRIORS = {
    "alpha": lognormal(0.33, 0.4),  # published fits lie between .2 and .5, those of beta too
    "beta": lognormal(0.33, 0.4),
    "misfit_scale": lognormal(0.02, 0.8),  # standard deviation of g  [nats]
    "misfit_length": lognormal(1.5, 0.5),  # log size or log tokens over which g changes
    "noise_scale": lognormal(0.004, 0.8),  # of one run among runs of its size, tokens and learning rate  [nats]
}
PEAK_PRIORS = {"peak_slope": normal(0.0, 0.05), "peak_curvature": lognormal(0.02, 0.8)}
"""Priors of the effect of the log peak learning rate and of half its square; a tenth of the best rate costs some .05 nats."""

CENTRE_SD = 0.5  # prior standard deviation of the loss at the centre  [nats]
IRREDUCIBLE = (4.0, 3.0)  # Beta prior of E, as a share of the lowest loss: published fits lie between .4 and .85
JITTER = 1e-4  # of a variance of g, so that neighbouring runs can be drawn jointly
OF_SIZE = (2.0, 2.0)  # Beta prior of the share of A in A + B

Array = NDArray[np.float64]


class ScalingDesign(NamedTuple):
    """Finished runs on one test set.

    Attributes:
        size: log parameters over those of the centre (run).
        data: log tokens over those of the centre (run).
        peak: log peak learning rate over that of the centre (run); empty where rates are unknown.
        loss: final loss (run).  [nats]
        error: its standard error, as far as known (run).  [nats]
    """

    size: AnyArray
    data: AnyArray
    peak: AnyArray
    loss: AnyArray
    error: AnyArray


def model(design: ScalingDesign) -> None:
    """Scaling law of finished runs."""
    priors = _priors(design)
    sites: dict[str, Any] = {name: numpyro.sample(name, prior.distribution()) for name, prior in priors.items()}
    sites["irreducible_share"] = numpyro.sample("irreducible_share", dist.Beta(*IRREDUCIBLE))
    sites["size_share"] = numpyro.sample("size_share", dist.Beta(*OF_SIZE))
    sites["centre"] = numpyro.sample("centre", dist.Normal(jnp.median(design.loss), CENTRE_SD))
    with numpyro.plate("runs", len(design.loss)):
        sites["weight"] = numpyro.sample("weight", dist.Gamma(TAIL / 2.0, TAIL / 2.0))
    covariance = misfit(sites, design, design) + jnp.diag(noise(sites["noise_scale"], sites["weight"], design.error))
    numpyro.sample("loss", dist.MultivariateNormal(law(sites, design, design), covariance), obs=design.loss)


def typical_values(design: ScalingDesign) -> dict[str, Any]:
    """A value for every site, a little off the centre of its prior."""
    priors = _priors(design)
    start = {name: 1.1 * prior.centre + 0.01 * (prior.family == "normal") for name, prior in priors.items()}
    centre = float(np.median(design.loss)) + 0.01
    return start | {"irreducible_share": 0.6, "size_share": 0.45, "centre": centre, "weight": np.full(len(design.loss), 0.9)}


def _priors(design: ScalingDesign) -> dict[str, Prior]:
    """Priors of the parameters that runs inform: those of the learning rate only where it is known."""
    return PRIORS | (PEAK_PRIORS if len(design.peak) else {})


def law(sites: Mapping[str, Any], seen: ScalingDesign, at: ScalingDesign) -> Any:
    """Loss by the law at sizes and tokens ``at``; sites as one draw, or with axes before that of ``at`` (..., run)."""
    irreducible, of_size, of_data = terms(sites, seen)
    peak = 0.0
    if "peak_slope" in sites:
        peak = sites["peak_slope"] * at.peak + 0.5 * sites["peak_curvature"] * at.peak**2
    return irreducible + of_size * jnp.exp(-sites["alpha"] * at.size) + of_data * jnp.exp(-sites["beta"] * at.data) + peak


def terms(sites: Mapping[str, Any], seen: ScalingDesign) -> tuple[Any, Any, Any]:
    """``E``, ``A`` and ``B`` at the centre of the runs that were seen, in nats."""
    irreducible = sites["irreducible_share"] * np.min(seen.loss)
    above = sites["centre"] - irreducible
    return irreducible, sites["size_share"] * above, (1.0 - sites["size_share"]) * above


def misfit(sites: Mapping[str, Any], one: ScalingDesign, other: ScalingDesign) -> Any:
    """Covariance of ``g`` between two sets of runs (..., run, run)."""
    apart = (one.size[:, None] - other.size) ** 2 + (one.data[:, None] - other.data) ** 2
    return sites["misfit_scale"] ** 2 * jnp.exp(-0.5 * apart / sites["misfit_length"] ** 2)


def noise(scale: Any, weight: Any, error: AnyArray) -> Any:
    """Variance of the loss of a run around the law and ``g`` (..., run)."""
    return scale**2 / weight + jnp.asarray(error) ** 2


def losses_at(draws: Mapping[str, Array], seen: ScalingDesign, at: ScalingDesign, rng: np.random.Generator) -> Array:
    """Final losses of runs that were not seen, noise of each aside: jointly for every draw (draw, run).

    ``draws`` are by name: of the weights (draw, run seen), and of all else (draw).
    """
    of_all = {name: value for name, value in draws.items() if value.ndim == 1}
    sites = {name: value[:, None] for name, value in of_all.items()}
    wide = {name: value[:, None, None] for name, value in of_all.items()}
    past, across, ahead = (np.asarray(misfit(wide, *two)) for two in ((seen, seen), (at, seen), (at, at)))
    own = np.asarray(noise(sites["noise_scale"], draws["weight"], seen.error))
    past = past + own[:, :, None] * np.eye(len(seen.loss))
    off = seen.loss - np.asarray(law(sites, seen, seen))
    weight = np.swapaxes(np.linalg.solve(past, np.swapaxes(across, 1, 2)), 1, 2)
    left = ahead - weight @ np.swapaxes(across, 1, 2) + JITTER * wide["misfit_scale"] ** 2 * np.eye(len(at.size))
    drawn = np.linalg.cholesky(left) @ rng.standard_normal((*left.shape[:2], 1))
    return np.asarray(law(sites, seen, at)) + (weight @ off[:, :, None] + drawn)[..., 0]
