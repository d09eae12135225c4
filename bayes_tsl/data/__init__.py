"""What was measured and what is planned: loss tables, learning-rate schedules, logs, losses by position, bundled runs.

Import ``LossTable``, ``Schedule`` and the readers from here; ``schedules``, ``collect`` and ``datasets`` are modules for
users. Nothing here knows of a law or a prior.
"""

from bayes_tsl.data import collect, datasets, schedules
from bayes_tsl.data.logs import read_log
from bayes_tsl.data.loss_table import LossTable, read_losses
from bayes_tsl.data.schedules import Schedule

__all__ = [
    "LossTable",
    "Schedule",
    "collect",
    "datasets",
    "read_log",
    "read_losses",
    "schedules",
]
