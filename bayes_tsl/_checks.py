"""One grammar for errors: ``<name> must <rule>; got <value> <where>. <what to do>``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from bayes_tsl.errors import DataError


def require(ok: object, name: str, rule: str, got: Any, *, where: str = "", cure: str = "") -> None:
    """Raise ``DataError`` in the house grammar unless ``ok``."""
    if not ok:
        place = f" {where}" if where else ""
        advice = f" {cure}" if cure else ""
        raise DataError(f"{name} must {rule}; got {show(got)}{place}.{advice}")


def show(value: Any) -> str:
    """A value as a user would type it; collections are cut to five."""
    if isinstance(value, str | bytes):
        return repr(value)
    if isinstance(value, Iterable):
        items = list(value)
        head = ", ".join(show(item) for item in items[:5])
        return f"{head} and {len(items) - 5} more" if len(items) > 5 else head or "none"
    if isinstance(value, float | np.floating):
        return f"{float(value):.10g}"
    return str(value)


def require_number(value: Any, name: str, *, low: float = -np.inf, high: float = np.inf, cure: str = "") -> None:
    """Raise ``DataError`` unless ``value`` is a number strictly between ``low`` and ``high``."""
    rule = f"be a number above {low:g}" if np.isinf(high) else f"lie between {low:g} and {high:g}"
    number = isinstance(value, int | float | np.integer | np.floating)
    require(number and low < value < high, name, rule, value, cure=cure)


def require_choice(value: Any, name: str, choices: Iterable[str], *, cure: str = "") -> None:
    """Raise ``DataError`` unless ``value`` is one of ``choices``, which are listed."""
    choices = list(choices)
    require(value in choices, name, f"be one of {show(choices)}", value, cure=cure)
