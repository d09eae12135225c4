"""Forecasters that an analyst would grab, each with the interface of ``bayes_tsl.forecasting.baselines.Forecaster``.

    series      general time-series tools: AutoETS, AutoTheta, Prophet
    laws        published laws by least squares: a broken power law, forward and momentum
    mixture     Domhan et al.'s mixture of learning curves by MCMC
    bayesian    power laws in NumPyro, as one writes them in an afternoon

Libraries that the package itself does without are imported when a forecaster is called.
"""

LEAST = 6  # checkpoints that a forecaster here asks for, a law by least squares more
