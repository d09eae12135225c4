"""Power laws in NumPyro, twenty lines each, as one writes them in an afternoon: the step alone, or the learning rate too.

Priors are vague and on the scale of a language model's loss; noise is Gaussian, the same at all checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpy.typing import ArrayLike
from numpyro.infer import MCMC, NUTS

import bayes_tsl as bt
from bayes_tsl.forecasting.baselines import relative_step, see_annealing
from bayes_tsl.forecasting.curve_fits import DRAWS, Past, from_draws, usable_past
from benchmarks.forecasters import LEAST

CHAINS = 2
FULL_DECAY = 1000.0  # annealing area that a fall from the peak to zero leads to


def power_law(losses: bt.LossTable, *, steps: ArrayLike, schedule: bt.Schedule | None = None, seed: int = 0) -> bt.Forecast:
    """``floor + gap t^-rate``, t the step relative to the origin; blind to the schedule."""
    past = usable_past(losses, steps=steps, schedule=schedule, least=LEAST, seed=seed)
    return _sampled(past, lambda step: (relative_step(step, past.step[-1], past.schedule), np.zeros(len(step))), seed=seed)


def annealing_law(losses: bt.LossTable, *, steps: ArrayLike, schedule: bt.Schedule | None = None, seed: int = 0) -> bt.Forecast:
    """``floor + gap S1^-rate - gain S2``: the summed learning rate and the annealing area (Tissue et al., arXiv 2408.11029)."""
    past = usable_past(losses, steps=steps, schedule=schedule, least=LEAST, seed=seed)
    return _sampled(past, lambda step: see_annealing(step, past.step[-1], past.schedule), seed=seed)


def model(progress: ArrayLike, area: ArrayLike, last: float, loss: ArrayLike | None = None) -> None:
    """Losses given progress, 1 at the origin, and annealing area (step); ``last`` is the loss at the origin."""
    floor = numpyro.sample("floor", dist.Normal(last - 0.5, 1.0))
    gap = numpyro.sample("gap", dist.HalfNormal(1.0))
    rate = numpyro.sample("rate", dist.LogNormal(jnp.log(0.5), 0.7))
    gain = numpyro.sample("gain", dist.HalfNormal(0.3))
    noise = numpyro.sample("noise", dist.HalfNormal(0.05))
    curve = numpyro.deterministic("curve", floor + gap * progress**-rate - gain * area / FULL_DECAY)
    numpyro.sample("loss", dist.Normal(curve, noise), obs=loss)


def _sampled(past: Past, see: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], *, seed: int) -> bt.Forecast:
    """NUTS on the past, and draws of the steps ahead."""
    both, count = np.concatenate([past.step, past.ahead]), len(past.step)
    progress, area = (jnp.asarray(values) for values in see(both))
    kernel = NUTS(model, dense_mass=True, target_accept_prob=0.95)
    size = {"num_warmup": 1000, "num_samples": DRAWS // CHAINS, "num_chains": CHAINS}
    mcmc = MCMC(kernel, **size, chain_method="sequential", progress_bar=False)
    keys = jax.random.split(jax.random.key(seed))
    mcmc.run(keys[0], progress[:count], area[:count], past.loss[-1], jnp.asarray(past.loss))
    ahead = numpyro.infer.Predictive(model, mcmc.get_samples())(keys[1], progress[count:], area[count:], past.loss[-1])
    return from_draws(past, expected=np.asarray(ahead["curve"], float), observed=np.asarray(ahead["loss"], float))
