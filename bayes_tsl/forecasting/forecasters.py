"""Every forecaster by name: the temporal scaling law at its defaults, and the baselines."""

from __future__ import annotations

from numpy.typing import ArrayLike

from bayes_tsl.data.loss_table import LossTable
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.forecasting.baselines import BASELINES, Forecaster
from bayes_tsl.forecasting.distribution import Forecast
from bayes_tsl.forecasting.predict import forecast
from bayes_tsl.inference.fitting import fit


def tsl(losses: LossTable, *, steps: ArrayLike, schedule: Schedule | None = None, seed: int = 0) -> Forecast:
    """The temporal scaling law at its defaults; a fit that did not converge is scored all the same and leaves a note."""
    return forecast(fit(losses, schedule=schedule, seed=seed, progress=False, throw=False), steps=steps, seed=seed)


FORECASTERS: dict[str, Forecaster] = {"tsl": tsl, **BASELINES}
