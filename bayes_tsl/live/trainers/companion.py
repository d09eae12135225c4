"""What all callbacks share: a ``Monitor`` that begins with the training, and the numbers to log beside the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bayes_tsl.data.schedules import Schedule
from bayes_tsl.live.guard import Guard
from bayes_tsl.live.monitor import Monitor
from bayes_tsl.live.outlook import Outlook


class Companion:
    """A monitor that begins when the trainer knows its schedule; whatever fails is logged once, and training goes on.

    Args:
        folder: of the run.
        schedule: in place of that of the trainer.
        known: arguments of ``fit``; they go before what the trainer knows.
        strict: raise what is wrong instead of logging it.
        asked: further arguments of ``Monitor``.

    Attributes:
        latest: the last forecast that was logged.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        schedule: Schedule | str | None = None,
        known: Mapping[str, Any] | None = None,
        strict: bool = False,
        **asked: Any,
    ) -> None:
        self.latest: Outlook | None = None
        self._schedule, self._known = schedule, known or {}
        self._asked = {"folder": folder, "strict": strict, **asked}
        self._monitor: Monitor | None = None
        self.attempt = Guard(strict=strict, words="not monitored: {}".format).attempt

    def begin(self, plan: Callable[[], Schedule], known: Callable[[], Mapping[str, Any]]) -> None:
        """Begin, or begin again, with the schedule and the recipe of a trainer."""
        self.end()
        self.attempt(lambda: self._begin(plan, known))

    def log(self, step: int, losses: Callable[[], Mapping[str, float]]) -> None:
        """Write the losses of test sets down, if it has begun."""
        if (monitor := self._monitor) is not None:
            self.attempt(lambda: monitor.log(step, losses()))

    def metrics(self) -> dict[str, float]:
        """Numbers to log beside the loss, those of the first test set; none while there is no forecast."""
        now = None if self._monitor is None else self._monitor.latest
        if now is None or now.waiting:
            return {}
        self.latest = now
        return now.metrics()

    def end(self) -> None:
        """Leave the worker to end by itself."""
        monitor, self._monitor = self._monitor, None
        if monitor is not None:
            self.attempt(lambda: monitor.close(wait=False))

    def _begin(self, plan: Callable[[], Schedule], known: Callable[[], Mapping[str, Any]]) -> None:
        schedule = plan() if self._schedule is None else self._schedule
        self._monitor = Monitor(schedule=schedule, known={**known(), **self._known}, **self._asked)
