"""Questions to a loss table or to a fit: laws by position, paired differences, model comparison, sensitivity, monitoring.

Import every name from here. Answers are tables with intervals; nothing is refitted, but for ``prior_sensitivity``.
"""

from bayes_tsl.analysis.model_comparison import average, compare
from bayes_tsl.analysis.monitoring import forecast_drift, surprise
from bayes_tsl.analysis.paired import paired_differences
from bayes_tsl.analysis.positions import annealed, learning_speed, position_effects, position_laws, settling
from bayes_tsl.analysis.sensitivity import prior_sensitivity

__all__ = [
    "annealed",
    "average",
    "compare",
    "forecast_drift",
    "learning_speed",
    "paired_differences",
    "position_effects",
    "position_laws",
    "prior_sensitivity",
    "settling",
    "surprise",
]
