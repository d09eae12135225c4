"""What is known of the end of a run in progress: one line for a log, and JSON for scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import inf, isfinite, isnan, nan
from typing import Any

from bayes_tsl._common.display import Facts, shown
from bayes_tsl._common.validation import percent, show
from bayes_tsl.reporting.content import json_text

Tree = dict[str, Any]


@shown
@dataclass(frozen=True)
class Outlook:
    """Where a run in progress is going, as of its last checkpoint; numbers that are not known are NaN.

    Attributes:
        step: of the last checkpoint.
        loss: there.  [nats/token]
        end: step that is forecast.
        median: of the loss measured at the end.  [nats/token]
        lower: where its central interval begins.  [nats/token]
        upper: where it ends.  [nats/token]
        prob: mass of the interval.
        target: loss to reach, if one was asked for.
        prob_target: probability that the loss measured at the end is below it.
        target_step: step by which the expected loss is as likely as not to be there; infinite if beyond the end.
        alarms: why the run should be looked at, and the forecast not relied on; a sentence each.
        converged: whether the chains of the fit agreed.
        fitted: last step of the fit; later checkpoints came in by weights.
        waiting: why there is no forecast; empty if there is one.

    Example::

        outlook = monitor.latest  # of a Monitor, or of a callback of a trainer
        print(outlook.median, outlook.lower, outlook.upper, outlook.alarms)
    """

    step: float
    loss: float
    end: float
    median: float = nan
    lower: float = nan
    upper: float = nan
    prob: float = 0.9
    target: float = nan
    prob_target: float = nan
    target_step: float = inf
    alarms: tuple[str, ...] = ()
    converged: bool = True
    fitted: float = nan
    waiting: str = ""

    def _facts(self) -> Facts:
        return {"": str(self)}

    def __str__(self) -> str:
        now = f"step {show(self.step)}: loss {self.loss:.4f}"
        if self.waiting:
            return f"{now}; {self.waiting}"
        ends = f"ends at {self.median:.4f} [{self.lower:.4f}, {self.upper:.4f}] (step {show(self.end)})"
        when = f", about step {show(self.target_step)}" if isfinite(self.target_step) else ""
        target = "" if isnan(self.target) else f"{percent(self.prob_target)} to end below {show(self.target)}{when}"
        doubt = "" if self.converged else "chains did not converge"
        return "; ".join(part for part in (now, ends, target, doubt, *(f"ALARM: {alarm}" for alarm in self.alarms)) if part)

    def metrics(self) -> dict[str, float]:
        """Numbers to log beside the loss: forecast/end, forecast/lower, forecast/upper and, with a target, forecast/p_target.

        >>> Outlook(step=100, loss=3.5, end=1000, median=3.1, lower=3.0, upper=3.3).metrics()["forecast/end"]
        3.1
        """
        values = {"end": self.median, "lower": self.lower, "upper": self.upper, "p_target": self.prob_target}
        return {f"forecast/{name}": value for name, value in values.items() if isfinite(value)}


def outlooks_to_json(outlooks: Mapping[str, Outlook]) -> str:
    """Outlooks by test set as JSON text, with null for numbers that are not finite."""
    return json_text({test_set: asdict(one) | {"alarms": list(one.alarms)} for test_set, one in outlooks.items()})


def outlooks_of(read: Mapping[str, Tree]) -> dict[str, Outlook]:
    """Outlooks by test set, from what ``outlooks_to_json`` wrote, read."""
    return {test_set: _outlook(one) for test_set, one in read.items()}


def _outlook(one: Tree) -> Outlook:
    given: Tree = {name: value for name, value in one.items() if value is not None}
    given["alarms"] = tuple(one["alarms"])
    return Outlook(**given)
