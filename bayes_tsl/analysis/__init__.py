"""Questions to a loss table or to a fit: laws by position, paired differences, model comparison, sensitivity, monitoring.

Import every name from here. Answers are tables with intervals; nothing is refitted, but for ``prior_sensitivity(refit=True)``.
"""

from bayes_tsl.analysis.model_comparison import compare_laws
from bayes_tsl.analysis.monitoring import forecast_revisions, predictive_p_value
from bayes_tsl.analysis.paired import paired_differences
from bayes_tsl.analysis.positions import annealing_gain, convergence_step, learning_speed, position_effects, position_laws
from bayes_tsl.analysis.sensitivity import parameter_sensitivity, prior_sensitivity

__all__ = [
    "annealing_gain",
    "compare_laws",
    "convergence_step",
    "forecast_revisions",
    "learning_speed",
    "paired_differences",
    "parameter_sensitivity",
    "position_effects",
    "position_laws",
    "predictive_p_value",
    "prior_sensitivity",
]
