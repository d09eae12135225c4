"""Public functions under their old names, which go with the next version."""

from bayes_tsl._common.deprecation import renamed
from bayes_tsl.analysis import annealing_gain, compare_laws, convergence_step, forecast_revisions, predictive_p_value
from bayes_tsl.plots import plot_forecast_revisions

annealed = renamed(annealing_gain, old="annealed")
compare = renamed(compare_laws, old="compare")
forecast_drift = renamed(forecast_revisions, old="forecast_drift")
plot_forecast_drift = renamed(plot_forecast_revisions, old="plot_forecast_drift")
settling = renamed(convergence_step, old="settling")
surprise = renamed(predictive_p_value, old="surprise")
