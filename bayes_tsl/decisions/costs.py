"""What training costs, in money and hours, and how far a sum of money goes: steps after the origin and back.

    money = fixed + price of a step * steps        0 for no steps
    hours = seconds per step * steps / 3600

What was spent before the origin is spent; nothing here counts it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayes_tsl._common.validation import require, require_number, show

Array = NDArray[np.float64]

_PRICES = {  # and what turns them into money for a step
    "per_step": (),
    "per_token": ("tokens_per_step",),
    "per_hour": ("seconds_per_step",),
    "per_gpu_hour": ("gpus", "seconds_per_step"),
}
_HOUR = 3600.0


@dataclass(frozen=True, kw_only=True, repr=False)
class Cost:
    """What steps after the origin cost: one price, and how fast training runs.

    >>> cost = Cost(per_hour=24.0, seconds_per_step=1.5, fixed=10.0)
    >>> cost.money([0, 1200]), cost.steps([22]), cost.hours([1200])
    (array([ 0., 22.]), array([1200.]), array([0.5]))
    >>> cloud = Cost(per_gpu_hour=2.5, gpus=8, seconds_per_step=1.5, currency="USD")
    >>> cloud
    Cost(seconds_per_step=1.5, per_gpu_hour=2.5, gpus=8, currency='USD')
    >>> cloud.text(cloud.money(1200))
    '10 USD'

    Attributes:
        per_step: money per step.
        per_token: money per token; needs ``tokens_per_step``.
        per_hour: money per hour; needs ``seconds_per_step``.
        per_gpu_hour: money per hour of one GPU; needs ``gpus`` and ``seconds_per_step``.
        tokens_per_step: tokens of one step; without it tokens are NaN.
        seconds_per_step: how long one step takes; without it hours are NaN.
        fixed: money spent once if training goes on at all.
        deadline: hours from the origin within which training must end; needs ``seconds_per_step``.
        gpus: how many GPUs train.
        currency: of all money, e.g. "USD"; it is printed with every amount.

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
    per_gpu_hour: float | None = None
    gpus: float | None = None
    currency: str | None = None

    def __post_init__(self) -> None:
        """Check what was given."""
        named = [name for name in _PRICES if getattr(self, name) is not None]
        require(len(named) == 1, "cost", f"have exactly one price of {show(_PRICES)}", named, cure="Give one of them.")
        for name in (*_PRICES, "tokens_per_step", "seconds_per_step", "deadline", "gpus"):
            if (value := getattr(self, name)) is not None:
                require_number(value, name, low=0.0, cure="Leave it out, or give what it is.")
        if self.fixed != 0:
            require_number(self.fixed, "fixed", low=0.0, cure="Leave it out if there is none.")
        needs = {name: _PRICES[name] for name in named} | ({} if self.deadline is None else {"deadline": ("seconds_per_step",)})
        for name, rates in needs.items():
            for rate in rates:
                cure = "It turns steps into tokens or hours." if rate != "gpus" else "It is how many of them train."
                require(getattr(self, rate) is not None, rate, f"be given with {name}", None, cure=cure)
        named = self.currency is None or (isinstance(self.currency, str) and self.currency.strip() != "")
        require(named, "currency", "be the name of one", self.currency, cure="Give e.g. 'USD'.")

    def __repr__(self) -> str:
        given = {one.name: value for one in fields(self) if (value := getattr(self, one.name)) != one.default}
        return f"Cost({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def money(self, steps: ArrayLike) -> Array:
        """Cost of that many steps after the origin (any shape); none costs nothing."""
        steps = np.asarray(steps, float)
        return np.where(steps > 0, self.fixed + self.step_price * steps, 0.0)[()]

    def text(self, money: ArrayLike) -> str:
        """An amount of money in words: to two decimals, with its currency."""
        return money_text(float(np.asarray(money)), self.currency)

    def label(self, what: str) -> str:
        """The name of an axis of money, with its currency."""
        return what if self.currency is None else f"{what} [{self.currency}]"

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
        per_hour = self.per_hour or (self.per_gpu_hour or np.nan) * (self.gpus or np.nan)
        return float(self.per_step or per_hour * float(self.hours(1.0)))


def money_text(amount: float, currency: str | None) -> str:
    """An amount of money to two decimals, with its currency.

    >>> money_text(33.333, "USD"), money_text(33.333, None)
    ('33.33 USD', '33.33')
    """
    number = show(round(amount, 2))
    return number if currency is None else f"{number} {currency}"
