"""What training costs, in money and hours, and how far a sum of money goes: steps after the origin and back.

    money = fixed + price of a step * steps        0 for no steps
    hours = seconds per step * steps / 3600

What was spent before the origin is spent; nothing here counts it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayes_tsl._common.validation import require, require_number, show

Array = NDArray[np.float64]

_PRICES = {"per_step": None, "per_token": "tokens_per_step", "per_hour": "seconds_per_step"}  # and what turns it into steps
_HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What steps after the origin cost, in any currency: one price, and how fast training runs.

    >>> cost = Cost(per_hour=24.0, seconds_per_step=1.5, fixed=10.0)
    >>> cost.money([0, 1200]), cost.steps([22]), cost.hours([1200])
    (array([ 0., 22.]), array([1200.]), array([0.5]))

    Attributes:
        per_step: money per step.
        per_token: money per token; needs ``tokens_per_step``.
        per_hour: money per hour; needs ``seconds_per_step``.
        tokens_per_step: tokens of one step; without it tokens are NaN.
        seconds_per_step: how long one step takes; without it hours are NaN.
        fixed: money spent once if training goes on at all.
        deadline: hours from the origin within which training must end; needs ``seconds_per_step``.

    Raises:
        DataError: not exactly one price, one that lacks what turns it into steps, or a number out of its range.
    """

    per_step: float | None = None
    per_token: float | None = None
    per_hour: float | None = None
    tokens_per_step: float | None = None
    seconds_per_step: float | None = None
    fixed: float = 0.0
    deadline: float | None = None

    def __post_init__(self) -> None:
        """Check what was given."""
        named = [name for name in _PRICES if getattr(self, name) is not None]
        require(len(named) == 1, "cost", f"have exactly one price of {show(_PRICES)}", named, cure="Give one of them.")
        for name in (*_PRICES, "tokens_per_step", "seconds_per_step", "deadline"):
            if (value := getattr(self, name)) is not None:
                require_number(value, name, low=0.0, cure="Leave it out, or give what it is.")
        if self.fixed != 0:
            require_number(self.fixed, "fixed", low=0.0, cure="Leave it out if there is none.")
        needs = {name: _PRICES[name] for name in named} | ({} if self.deadline is None else {"deadline": "seconds_per_step"})
        for name, rate in needs.items():
            missing = rate is not None and getattr(self, rate) is None
            require(not missing, str(rate), f"be given with {name}", None, cure="It turns steps into tokens or hours.")

    def money(self, steps: ArrayLike) -> Array:
        """Cost of that many steps after the origin (any shape); none costs nothing."""
        steps = np.asarray(steps, float)
        return np.where(steps > 0, self.fixed + self.step_price * steps, 0.0)[()]

    def steps(self, money: ArrayLike) -> Array:
        """How many steps after the origin ``money`` buys (any shape), whatever the deadline; the inverse of ``money``."""
        return np.maximum(np.asarray(money, float) - self.fixed, 0.0)[()] / self.step_price

    def hours(self, steps: ArrayLike) -> Array:
        """Hours that so many steps take (any shape); NaN without ``seconds_per_step``."""
        return np.asarray(steps, float)[()] * (self.seconds_per_step or np.nan) / _HOUR

    def tokens(self, steps: ArrayLike) -> Array:
        """Tokens of so many steps (any shape); NaN without ``tokens_per_step``."""
        return np.asarray(steps, float)[()] * (self.tokens_per_step or np.nan)

    def units(self, steps: ArrayLike) -> dict[str, Array]:
        """So many steps after the origin as tokens, hours and cost (any shape)."""
        return {"tokens": self.tokens(steps), "hours": self.hours(steps), "cost": self.money(steps)}

    @property
    def most_steps(self) -> float:
        """Steps until the deadline; infinite without one."""
        return np.inf if self.deadline is None else self.deadline * _HOUR / float(self.seconds_per_step or np.nan)

    @property
    def step_price(self) -> float:
        """Money for one step more."""
        if self.per_token is not None:
            return self.per_token * float(self.tokens_per_step or np.nan)
        return float(self.per_step or (self.per_hour or np.nan) * float(self.hours(1.0)))
