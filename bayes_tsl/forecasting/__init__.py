"""From a posterior to a forecast: other schedules, new checkpoints by importance weights, averages, and the baselines to beat.

Import ``Forecast``, ``forecast``, ``what_if``, ``update`` and ``average`` from here; ``baselines`` is a module for users.
Every forecaster returns a ``Forecast``, so that one scoring code judges all.
"""

from bayes_tsl.forecasting import baselines
from bayes_tsl.forecasting.alternatives import WhatIf, what_if
from bayes_tsl.forecasting.averaging import average
from bayes_tsl.forecasting.distribution import Arrival, Forecast
from bayes_tsl.forecasting.forecast_files import load_forecast
from bayes_tsl.forecasting.new_runs import forecast_new
from bayes_tsl.forecasting.predict import forecast
from bayes_tsl.forecasting.reweighting import Updated, update
from bayes_tsl.forecasting.tasks import forecast_task

__all__ = [
    "Arrival",
    "Forecast",
    "Updated",
    "WhatIf",
    "average",
    "baselines",
    "forecast",
    "forecast_new",
    "forecast_task",
    "load_forecast",
    "update",
    "what_if",
]
