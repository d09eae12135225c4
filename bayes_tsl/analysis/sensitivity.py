"""How much of a forecast is the prior's doing? The same losses under priors widened, and how far the forecast moves."""

from __future__ import annotations

import pandas as pd
from numpy.typing import ArrayLike

from bayes_tsl._common.validation import require_seed
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.forecasting.predict import forecast
from bayes_tsl.inference.fitting import refit
from bayes_tsl.inference.posterior import Fit

DECIDES = 0.5  # of the width of an interval: a median that moves by more was put there by the prior


def prior_sensitivity(
    fit: Fit,
    *,
    steps: ArrayLike,
    schedule: Schedule | None = None,
    widen: float = 2.0,
    prob: float = 0.9,
    seed: int = 0,
    progress: bool = False,
) -> pd.DataFrame:
    """Forecast medians under the fit's priors and under wider ones; takes one more fit of the same losses.

    Args:
        fit: what the past says under its priors.
        steps: later steps, in any order (step).
        schedule: as for ``forecast``.
        widen: by how much every prior's spread grows.
        prob: mass of the interval that the shift is measured by.
        seed: of the drift and noise ahead.
        progress: show a bar on stderr.

    Returns:
        One row per step: median, wider (the median under the wider priors), shift [nats/token], share (of the width of the
        interval), prior_decides (whether that is more than ``DECIDES``), converged (of the wider fit: if not, there is no
        answer).

    Raises:
        DataError: as ``forecast``; or ``widen`` is not positive.

    Example::

        from bayes_tsl.inference import load_fit

        prior_sensitivity(load_fit("fit.nc"), steps=[2000, 2500])[["shift", "prior_decides"]]
    """
    require_seed(seed)
    before = forecast(fit, steps=steps, schedule=schedule, seed=seed)
    wider_fit = refit(fit, fit.priors.widened(widen), progress=progress)
    after = forecast(wider_fit, steps=steps, schedule=schedule, seed=seed)
    interval = before.interval(prob=prob)
    median, wider = before.quantile(0.5).to_numpy(), after.quantile(0.5).to_numpy()
    share = (wider - median) / (interval["upper"] - interval["lower"]).to_numpy()
    table = {
        "median": median,
        "wider": wider,
        "shift": wider - median,
        "share": share,
        "prior_decides": abs(share) > DECIDES,
        "converged": wider_fit.converged,
    }
    return pd.DataFrame(table, pd.Index(before.steps, name="step"))
