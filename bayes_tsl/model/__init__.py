"""The temporal scaling law as a probabilistic model: laws, priors, the arrays that it conditions on, and simulation from it.

Import ``Priors``, ``Population`` and the simulators from here; ``laws`` and ``priors`` are modules for users. Nothing here
draws from a posterior.
"""

from bayes_tsl.model import laws, priors
from bayes_tsl.model.population import Population, load_population
from bayes_tsl.model.priors import Priors
from bayes_tsl.model.simulation import Simulation, prior_predictive, simulate

__all__ = [
    "Population",
    "Priors",
    "Simulation",
    "laws",
    "load_population",
    "prior_predictive",
    "priors",
    "simulate",
]
