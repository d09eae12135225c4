"""What to do, given a forecast: budgets, costs, optimal stopping, which run ends lowest, and which size to train next.

Import every name from here. Nothing here scores a forecast: that is ``evaluation``, which does not import this package
either.
"""

from bayes_tsl.decisions.allocation import Allocation, allocate
from bayes_tsl.decisions.budgets import Budget, at_budget, budget_curve, marginal_gain, smallest_budget
from bayes_tsl.decisions.costs import Cost
from bayes_tsl.decisions.frontier import Frontier, budget_frontier
from bayes_tsl.decisions.measurements import Measurement, Worth, worth_measuring
from bayes_tsl.decisions.plans import BestPlan, best_plan
from bayes_tsl.decisions.portfolio import Portfolio, best_portfolio
from bayes_tsl.decisions.run_comparison import Comparison, compare_runs
from bayes_tsl.decisions.stopping import Stopping, stop_or_continue

__all__ = [
    "Allocation",
    "BestPlan",
    "Budget",
    "Comparison",
    "Cost",
    "Frontier",
    "Measurement",
    "Portfolio",
    "Stopping",
    "Worth",
    "allocate",
    "at_budget",
    "best_plan",
    "best_portfolio",
    "budget_curve",
    "budget_frontier",
    "compare_runs",
    "marginal_gain",
    "smallest_budget",
    "stop_or_continue",
    "worth_measuring",
]
