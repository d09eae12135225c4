"""Models are traced by one thread at a time: NumPyro keeps its effect handlers on one stack for the whole process.

The lock is taken where a model runs as Python, which under ``jax.jit`` is while it is traced. Compiled programs run outside it,
in as many threads as there are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from threading import RLock
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
_LOCK = RLock()


def traced_alone(function: Callable[P, R]) -> Callable[P, R]:
    """A function that runs a NumPyro model, as one that no other thread runs meanwhile.

    >>> traced_alone(max)(1, 2)
    2
    """

    @wraps(function)
    def alone(*args: P.args, **kwargs: P.kwargs) -> R:
        with _LOCK:
            return function(*args, **kwargs)

    return alone
