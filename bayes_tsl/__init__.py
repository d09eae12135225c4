"""Forecast the test loss of a language-model training run, with honest intervals."""

from importlib.metadata import version

from bayes_tsl.analysis.model_comparison import average, compare
from bayes_tsl.analysis.monitoring import forecast_drift, surprise
from bayes_tsl.analysis.paired import paired_differences
from bayes_tsl.analysis.positions import annealed, learning_speed, position_effects, position_laws, settling
from bayes_tsl.analysis.sensitivity import prior_sensitivity
from bayes_tsl.data import collect, datasets, schedules
from bayes_tsl.data.logs import read_log
from bayes_tsl.data.loss_table import LossTable, read_losses
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.decisions.budgets import Budget, at_budget, budget_curve, marginal_gain, smallest_budget
from bayes_tsl.decisions.costs import Cost
from bayes_tsl.decisions.run_comparison import Comparison, compare_runs
from bayes_tsl.decisions.stopping import Stopping, stop_or_continue
from bayes_tsl.errors import ConvergenceError, DataError, Notice
from bayes_tsl.evaluation import calibration, scoring
from bayes_tsl.evaluation.backtesting import backtest
from bayes_tsl.forecasting import baselines
from bayes_tsl.forecasting.alternatives import WhatIf, what_if
from bayes_tsl.forecasting.distribution import Arrival, Forecast
from bayes_tsl.forecasting.predict import forecast
from bayes_tsl.forecasting.reweighting import Updated, update
from bayes_tsl.inference.batch import fit_each
from bayes_tsl.inference.diagnostics import Diagnostics
from bayes_tsl.inference.fitting import fit
from bayes_tsl.inference.posterior import Fit, load_fit
from bayes_tsl.model import laws, priors
from bayes_tsl.model.population import Population, load_population
from bayes_tsl.model.priors import Priors
from bayes_tsl.model.simulation import Simulation, prior_predictive, simulate
from bayes_tsl.plots.forecasts import (
    plot_budget,
    plot_calibration,
    plot_comparison,
    plot_errors,
    plot_forecast,
    plot_forecast_drift,
    plot_prior_predictive,
    plot_stopping,
    plot_what_if,
)
from bayes_tsl.plots.positions import (
    plot_coefficients,
    plot_learning_speed,
    plot_position_effects,
    plot_position_laws,
    plot_positions,
)
from bayes_tsl.reporting.page import Report, report

__version__ = version("bayes_tsl")

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
    "at_budget",
    "average",
    "backtest",
    "baselines",
    "budget_curve",
    "calibration",
    "collect",
    "compare",
    "compare_runs",
    "datasets",
    "fit",
    "fit_each",
    "forecast",
    "forecast_drift",
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
    "plot_learning_speed",
    "plot_position_effects",
    "plot_position_laws",
    "plot_positions",
    "plot_prior_predictive",
    "plot_stopping",
    "plot_what_if",
    "position_effects",
    "position_laws",
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
