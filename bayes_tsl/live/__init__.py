"""Live: a forecast beside the training, from checkpoints as they are logged.

Import every name from here. ``Monitor`` never slows or stops a trainer: it writes checkpoints to a folder, and a process of its
own (``worker``) reads them there, fits and forecasts (``tracking``), and writes down what it found (``Outlook``). Callbacks
of trainers are in ``trainers``.
"""

from bayes_tsl.live.monitor import Monitor
from bayes_tsl.live.outlook import Outlook
from bayes_tsl.live.tracking import Plan, Tracked, track

__all__ = ["Monitor", "Outlook", "Plan", "Tracked", "track"]
