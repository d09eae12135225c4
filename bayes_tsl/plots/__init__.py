"""Pictures of forecasts, decisions, scores and losses by position, each drawn into a Matplotlib axes and returned.

Import every ``plot_*`` from here. Nothing here computes: what is drawn comes from the packages above.
"""

from bayes_tsl.plots.allocation import plot_allocation
from bayes_tsl.plots.decisions import (
    plot_best_plan,
    plot_budget,
    plot_comparison,
    plot_frontier,
    plot_stopping,
    plot_worth,
)
from bayes_tsl.plots.evaluation import plot_calibration, plot_errors
from bayes_tsl.plots.forecasts import plot_forecast, plot_forecast_revisions, plot_prior_predictive, plot_what_if
from bayes_tsl.plots.positions import (
    plot_coefficients,
    plot_learning_speed,
    plot_position_effects,
    plot_position_laws,
    plot_positions,
)
from bayes_tsl.plots.tasks import plot_task

__all__ = [
    "plot_allocation",
    "plot_best_plan",
    "plot_budget",
    "plot_calibration",
    "plot_coefficients",
    "plot_comparison",
    "plot_errors",
    "plot_forecast",
    "plot_forecast_revisions",
    "plot_frontier",
    "plot_learning_speed",
    "plot_position_effects",
    "plot_position_laws",
    "plot_positions",
    "plot_prior_predictive",
    "plot_stopping",
    "plot_task",
    "plot_what_if",
    "plot_worth",
]
