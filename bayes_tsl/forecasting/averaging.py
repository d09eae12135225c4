"""One forecast from several: draws of each in proportion to its weight."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from bayes_tsl._common.dims import CHAIN, DRAW, STEP
from bayes_tsl._common.validation import require, require_seed
from bayes_tsl.forecasting.distribution import Forecast


def average(forecasts: Mapping[str, Forecast], weights: Mapping[str, float], *, seed: int = 0) -> Forecast:
    """Model-averaged forecast: draws of each in proportion to its weight.

    Args:
        forecasts: by name, of one run at the same steps.
        weights: of each, e.g. ``compare_laws(fits)["weight"]``; scaled to sum to one.
        seed: of the choice of draws.

    Raises:
        DataError: a forecast without a weight, a negative weight, or forecasts of different steps.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> one, other = (bt.forecast(example_fit(), steps=[1500, 2000, 2500], seed=seed) for seed in (0, 1))
    >>> average({"one": one, "other": other}, {"one": 1.0, "other": 3.0}).notices[0]
    'Averaged over one 0.25, other 0.75.'
    """
    require_seed(seed)
    names = list(forecasts)
    missing = [name for name in names if name not in weights]
    require(names and not missing, "weights", "name every forecast", missing, where="without one", cure="Give one for each.")
    share = np.array([float(weights[name]) for name in names])
    require((share >= 0).all() and share.sum() > 0, "weights", "be positive, or zero", share, cure="Stacking weights are.")
    first = forecasts[names[0]]
    for name in names[1:]:
        same = np.array_equal(forecasts[name].steps, first.steps)
        require(
            same, f"forecast {name!r}", f"be at the steps of {names[0]!r}", forecasts[name].steps, cure="Use the same steps."
        )
    rng = np.random.default_rng(seed)
    total = first.observed.sizes[CHAIN] * first.observed.sizes[DRAW]
    source = np.sort(rng.choice(len(names), size=total, p=share / share.sum()))
    picked = {name: rng.choice(_count(forecasts[name]), np.sum(source == i)) for i, name in enumerate(names)}

    def mixed(kind: str) -> xr.DataArray:
        flat = [getattr(forecasts[name], kind).to_numpy().reshape(-1, len(first.steps))[picked[name]] for name in names]
        drawn = np.concatenate(flat)[None]
        return xr.DataArray(
            drawn, {CHAIN: [0], DRAW: np.arange(drawn.shape[1]), STEP: first.steps}, (CHAIN, DRAW, STEP), name=kind
        )

    shares = ", ".join(f"{name} {part:.2f}" for name, part in zip(names, share / share.sum()))
    notices = dict.fromkeys(notice for ahead in forecasts.values() for notice in ahead.notices)
    return Forecast(
        run=first.run,
        test_set=first.test_set,
        origin=first.origin,
        expected=mixed("expected"),
        observed=mixed("observed"),
        history=first.history,
        notices=(f"Averaged over {shares}.", *notices),
        converged=all(ahead.converged for ahead in forecasts.values()),
    )


def _count(ahead: Forecast) -> int:
    return ahead.observed.sizes[CHAIN] * ahead.observed.sizes[DRAW]
