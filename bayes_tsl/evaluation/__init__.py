"""How good forecasts were, once the truth is known: proper scores, backtests, and simulation-based calibration.

Import ``backtest`` from here; ``scoring`` and ``calibration`` are modules for users. Forecasters see the past of a run and
nothing else.
"""

from bayes_tsl.evaluation import calibration, scoring
from bayes_tsl.evaluation.backtesting import backtest

__all__ = [
    "backtest",
    "calibration",
    "scoring",
]
