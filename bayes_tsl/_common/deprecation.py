"""Old names of public functions, kept for one version."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def renamed(function: Callable[P, R], *, old: str) -> Callable[P, R]:
    """``function`` under its ``old`` name, which warns that it will go.

    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     renamed(abs, old="size")(-1)
    1
    >>> str(caught[0].message)
    'size is now called abs; the old name goes with the next version.'
    """

    @wraps(function)
    def alias(*args: P.args, **kwargs: P.kwargs) -> R:
        new = getattr(function, "__name__", repr(function))
        message = f"{old} is now called {new}; the old name goes with the next version."
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return function(*args, **kwargs)

    alias.__name__ = alias.__qualname__ = old
    alias.__doc__ = f"Old name of ``{getattr(function, '__name__', function)}``."
    return alias
