"""Forecast the test loss of a language-model training run, with honest intervals."""

from importlib.metadata import version

from bayes_tsl._common.deprecation import renamed
from bayes_tsl.analysis import (
    annealing_gain,
    compare_laws,
    convergence_step,
    forecast_revisions,
    learning_speed,
    paired_differences,
    position_effects,
    position_laws,
    predictive_p_value,
    prior_sensitivity,
)
from bayes_tsl.data import LossTable, Schedule, collect, datasets, read_log, read_losses, schedules
from bayes_tsl.decisions import (
    Budget,
    Comparison,
    Cost,
    Stopping,
    at_budget,
    budget_curve,
    compare_runs,
    marginal_gain,
    smallest_budget,
    stop_or_continue,
)
from bayes_tsl.errors import DataError, Notice
from bayes_tsl.evaluation import backtest, calibration, scoring
from bayes_tsl.forecasting import Arrival, Forecast, Updated, WhatIf, average, baselines, forecast, update, what_if
from bayes_tsl.inference import ConvergenceError, Diagnostics, Fit, fit, fit_each, load_fit
from bayes_tsl.model import Population, Priors, Simulation, laws, load_population, prior_predictive, priors, simulate
from bayes_tsl.plots import (
    plot_budget,
    plot_calibration,
    plot_coefficients,
    plot_comparison,
    plot_errors,
    plot_forecast,
    plot_forecast_revisions,
    plot_learning_speed,
    plot_position_effects,
    plot_position_laws,
    plot_positions,
    plot_prior_predictive,
    plot_stopping,
    plot_what_if,
)
from bayes_tsl.reporting import Report, report

__version__ = version("bayes_tsl")

annealed = renamed(annealing_gain, old="annealed")
compare = renamed(compare_laws, old="compare")
forecast_drift = renamed(forecast_revisions, old="forecast_drift")
plot_forecast_drift = renamed(plot_forecast_revisions, old="plot_forecast_drift")
settling = renamed(convergence_step, old="settling")
surprise = renamed(predictive_p_value, old="surprise")

__all__ = [
    "Arrival",
    "Budget",
    "Comparison",
    "ConvergenceError",
    "Cost",
    "DataError",
    "Diagnostics",
    "Fit",
    "Forecast",
    "LossTable",
    "Notice",
    "Population",
    "Priors",
    "Report",
    "Schedule",
    "Simulation",
    "Stopping",
    "Updated",
    "WhatIf",
    "annealed",
    "annealing_gain",
    "at_budget",
    "average",
    "backtest",
    "baselines",
    "budget_curve",
    "calibration",
    "collect",
    "compare",
    "compare_laws",
    "compare_runs",
    "convergence_step",
    "datasets",
    "fit",
    "fit_each",
    "forecast",
    "forecast_drift",
    "forecast_revisions",
    "laws",
    "learning_speed",
    "load_fit",
    "load_population",
    "marginal_gain",
    "paired_differences",
    "plot_budget",
    "plot_calibration",
    "plot_coefficients",
    "plot_comparison",
    "plot_errors",
    "plot_forecast",
    "plot_forecast_drift",
    "plot_forecast_revisions",
    "plot_learning_speed",
    "plot_position_effects",
    "plot_position_laws",
    "plot_positions",
    "plot_prior_predictive",
    "plot_stopping",
    "plot_what_if",
    "position_effects",
    "position_laws",
    "predictive_p_value",
    "prior_predictive",
    "prior_sensitivity",
    "priors",
    "read_log",
    "read_losses",
    "report",
    "schedules",
    "scoring",
    "settling",
    "simulate",
    "smallest_budget",
    "stop_or_continue",
    "surprise",
    "update",
    "what_if",
]
