r"""How a task's value follows from the test loss: a monotone link that all runs share, and how far a run lies from it.

A checkpoint of run ``r`` at step ``t``, with test loss ``L``, scores on the task (bits per byte of the right answer, say)

    value = link(L) + d_r(log t) + noise exp(rise (L - lowest)) n,    n ~ Normal(0, 1).

The link rises with the loss. It starts with ``level`` at the lowest loss that was measured, and its log slope is a random walk
in the loss, so that a draw of it is monotone, need be no known curve, and is less certain the farther it goes beyond the losses
measured, where it keeps its last slope on average. ``d`` is an Ornstein-Uhlenbeck process in log step with standard deviation
``apart`` and correlation time ``length``: what a run gains on the task beyond its loss lasts a while. It is integrated out by a
Kalman filter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpy.typing import NDArray

from bayes_tsl._common.arrays import AnyArray
from bayes_tsl.model.priors import lognormal, normal

KNOTS = 10  # losses at which the slope of the link may change, evenly from the lowest to the highest measured

PRIORS = {
    "log_slope": normal(0.0, 1.0),  # at the lowest loss, less the log of the straight line's
    "roughness": lognormal(0.35, 0.3),  # standard deviation of the change of the log slope over one nat
    "apart": lognormal(0.01, 1.0),  # of a run from the link, as a share of the range of values
    "length": lognormal(0.5, 1.0),  # log steps over which a run keeps its distance from the link
    "noise": lognormal(0.01, 1.0),  # of a checkpoint at the lowest loss, as a share of the range of values
    "rise": normal(0.5, 0.5),  # of the log noise per nat
}
LEVEL_SD = 0.1  # prior standard deviation of the level, as a share of the range of values

Array = NDArray[np.float64]


class TaskDesign(NamedTuple):
    """Checkpoints of several runs, in order of steps; rows of shorter runs end in places that do not count.

    Attributes:
        loss: test loss (run, checkpoint).  [nats]
        value: of the task, scaled: 0 at the lowest loss on the straight line through all, 1 at the highest (run, checkpoint).
        since: log step since the checkpoint before (run, checkpoint).
        counts: 1 for a checkpoint, else 0 (run, checkpoint).
        knots: losses, increasing (knot).  [nats]
    """

    loss: AnyArray
    value: AnyArray
    since: AnyArray
    counts: AnyArray
    knots: AnyArray


class Apart(NamedTuple):
    """Distance of runs from the link at a checkpoint, given all until then: mean and variance, in scaled values (..., run)."""

    mean: Any
    variance: Any

    def picked(self, draws: NDArray[np.intp]) -> Apart:
        """These of the draws, which are the first axis."""
        return Apart(self.mean[draws], self.variance[draws])


def model(design: TaskDesign) -> None:
    """Values of a task at checkpoints."""
    sites: dict[str, Any] = {name: numpyro.sample(name, prior.distribution()) for name, prior in PRIORS.items()}
    sites["level"] = numpyro.sample("level", dist.Normal(0.0, LEVEL_SD))
    half = jnp.sqrt(sites["roughness"] * (design.knots[1] - design.knots[0]))
    sites["bends"] = numpyro.sample("bends", dist.Normal(0.0, half).expand([len(design.knots) - 1]).to_event(1))
    numpyro.factor("values", filtered(sites, design)[0])


def typical_values(design: TaskDesign) -> dict[str, Any]:
    """A value for every site, a little off the centre of its prior."""
    start = {name: 1.1 * prior.centre + 0.01 * (prior.family == "normal") for name, prior in PRIORS.items()}
    return start | {"level": 0.01, "bends": np.full(len(design.knots) - 1, 0.02)}


def bends(sites: Mapping[str, Any]) -> Any:
    """Change of the log slope from knot to knot (..., knot but the first).

    Half of its scale is in the site and half comes here: chains move well neither with all of it there, where losses say little
    of the walk, nor with all of it here, where they say much (Papaspiliopoulos et al., Statistical Science 22:59, 2007).
    """
    return jnp.sqrt(sites["roughness"])[..., None] * sites["bends"]


def link(sites: Mapping[str, Any], knots: AnyArray, loss: AnyArray) -> Any:
    """Scaled value at losses between the first and the last knot (...)."""
    width = knots[1] - knots[0]
    slope = jnp.exp(sites["log_slope"] + jnp.append(0.0, jnp.cumsum(bends(sites)))) / (knots[-1] - knots[0])
    risen = jnp.append(0.0, jnp.cumsum(0.5 * width * (slope[1:] + slope[:-1])))
    return sites["level"] + jnp.interp(loss, knots, risen)


def noise(sites: Mapping[str, Any], knots: AnyArray, loss: AnyArray) -> Any:
    """Standard deviation of a checkpoint's value (...)."""
    return sites["noise"] * jnp.exp(sites["rise"] * (loss - knots[0]))


def last_distances(design: TaskDesign, sites: Mapping[str, Any]) -> Apart:
    """How far each run is from the link at its last checkpoint (run)."""
    return filtered(sites, design)[1]


def filtered(sites: Mapping[str, Any], design: TaskDesign) -> tuple[Any, Apart]:
    """Log density of all values, and how far each run is from the link at its last checkpoint (run)."""
    off = design.value - link(sites, design.knots, design.loss)
    variance = noise(sites, design.knots, design.loss) ** 2
    kept, power = jnp.exp(-design.since / sites["length"]), sites["apart"] ** 2

    def advance(state: tuple[Any, Apart], at: tuple[Any, ...]) -> tuple[tuple[Any, Apart], None]:
        (density, before), (off, variance, kept, counts) = state, at
        mean, wide = kept * before.mean, power + kept**2 * (before.variance - power)
        total, residual = wide + variance, off - mean
        gain = counts * wide / total
        here = -0.5 * counts * (residual**2 / total + jnp.log(2.0 * jnp.pi * total))
        return (density + here.sum(), Apart(mean + gain * residual, wide * (1.0 - gain))), None

    runs = len(design.loss)
    start = (jnp.zeros(()), Apart(jnp.zeros(runs), jnp.full(runs, power)))
    (density, last), _ = jax.lax.scan(advance, start, tuple(part.T for part in (off, variance, kept, design.counts)))
    return density, last


def links_at(draws: Mapping[str, Array], knots: AnyArray, losses: Array, rng: np.random.Generator) -> Array:
    """The link of every draw at losses of its own, scaled; beyond the knots its walk goes on (draw, ...).

    ``draws`` are by name: of the bends (draw, knot but the first), and of all else (draw).
    """
    first, second, *_, last = np.asarray(knots)
    width = second - first
    below, above = (max(int(np.ceil(gap / width)), 0) for gap in (first - losses.min(), losses.max() - last))
    many = len(draws["level"])
    scale = (draws["roughness"] * np.sqrt(width))[:, None]
    up = np.cumsum(np.hstack([np.asarray(bends(draws)), scale * rng.standard_normal((many, above))]), axis=1)
    down = np.cumsum(scale * rng.standard_normal((many, below)), axis=1)
    walk = np.hstack([down[:, ::-1], np.zeros((many, 1)), up])
    slope = np.exp(draws["log_slope"][:, None] + walk) / (last - first)
    risen = np.cumsum(np.hstack([np.zeros((many, 1)), 0.5 * width * (slope[:, 1:] + slope[:, :-1])]), axis=1)
    risen += (draws["level"] - risen[:, below])[:, None]
    wider = first + width * np.arange(-below, len(knots) + above)
    return np.stack([np.interp(own, wider, values) for own, values in zip(losses, risen)])


def distances_at(draws: Mapping[str, Array], since: Array, start: Apart | None, rng: np.random.Generator) -> Array:
    """Distance of one run from the link at later steps, scaled, for every draw (draw, step).

    ``since`` is log step since the step before, for the first that since its last checkpoint (step); ``start`` is the distance
    there (draw), None for a run that was not measured.
    """
    power = draws["apart"] ** 2
    state = Apart(np.zeros(len(power)), power) if start is None else start
    at, path = state.mean + np.sqrt(state.variance) * rng.standard_normal(len(power)), []
    for gap in since:
        kept = np.exp(-gap / draws["length"])
        at = kept * at + np.sqrt(power * (1.0 - kept**2)) * rng.standard_normal(len(power))
        path.append(at)
    return np.stack(path, axis=1)
