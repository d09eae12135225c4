"""General time-series tools: AutoETS and AutoTheta of statsforecast, and Prophet. None sees the schedule.

The first two want a regular series, and all extrapolate straight trends. So time is the logarithm of the step, in which a loss
curve is nearly straight; in the step itself they do worse. The regular series has as many points as there are checkpoints,
interpolated, and the simulated paths are interpolated back.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

import bayes_tsl as bt
from bayes_tsl.forecasting.curve_fits import DRAWS, Past, from_draws, usable_past
from benchmarks.forecasters import LEAST

DAYS = 365.0  # of Prophet's calendar in one unit of log step


def auto_ets(losses: bt.LossTable, *, steps: ArrayLike, schedule: bt.Schedule | None = None, seed: int = 0) -> bt.Forecast:
    """Exponential smoothing, its form chosen by AICc."""
    from statsforecast.models import AutoETS

    past = usable_past(losses, steps=steps, schedule=schedule, least=LEAST, seed=seed)
    return _simulated(AutoETS(season_length=1), past, seed=seed)


def auto_theta(losses: bt.LossTable, *, steps: ArrayLike, schedule: bt.Schedule | None = None, seed: int = 0) -> bt.Forecast:
    """The best of four Theta models."""
    from statsforecast.models import AutoTheta

    past = usable_past(losses, steps=steps, schedule=schedule, least=LEAST, seed=seed)
    return _simulated(AutoTheta(season_length=1), past, seed=seed)


def prophet(losses: bt.LossTable, *, steps: ArrayLike, schedule: bt.Schedule | None = None, seed: int = 0) -> bt.Forecast:
    """A piecewise linear trend without seasons, fitted to the checkpoints where they are."""
    for talkative in ("prophet.plot", "cmdstanpy"):
        logging.getLogger(talkative).disabled = True
    from prophet import Prophet

    past = usable_past(losses, steps=steps, schedule=schedule, least=LEAST, seed=seed)
    none = {f"{season}_seasonality": False for season in ("yearly", "weekly", "daily")}
    model = Prophet(uncertainty_samples=DRAWS, **none)
    model.fit(pd.DataFrame({"ds": _dates(past.step), "y": past.loss}))
    np.random.seed(seed)  # Prophet draws from NumPy's global state
    samples = model.predictive_samples(pd.DataFrame({"ds": _dates(past.ahead)}))
    return from_draws(past, expected=samples["trend"].T, observed=samples["yhat"].T)


def _simulated(model: Any, past: Past, *, seed: int) -> bt.Forecast:
    """Paths of a model of statsforecast at the steps ahead."""
    time, ahead = np.log(past.step), np.log(past.ahead)
    grid, spacing = np.linspace(time[0], time[-1], len(time), retstep=True)
    count = int(np.ceil((ahead[-1] - time[-1]) / spacing))
    paths = model.simulate(h=count, n_paths=DRAWS, y=np.interp(grid, time, past.loss), seed=seed)
    later = time[-1] + spacing * np.arange(count + 1)
    draws = np.stack([np.interp(ahead, later, np.append(past.loss[-1], path)) for path in paths])
    return from_draws(past, expected=draws, observed=draws)


def _dates(step: np.ndarray) -> pd.DatetimeIndex:
    """Log steps on a calendar (step)."""
    return pd.Timestamp("2000-01-01") + pd.to_timedelta(DAYS * np.log(step), unit="D")
