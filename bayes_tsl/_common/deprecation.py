"""Old names of public functions and properties, kept for one version."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

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
        _warn(old, new)
        return function(*args, **kwargs)

    alias.__name__ = alias.__qualname__ = old
    alias.__doc__ = f"Old name of ``{getattr(function, '__name__', function)}``."
    return alias


def renamed_property(new: str, *, old: str) -> Any:
    """A property that reads the attribute ``new`` and warns that its ``old`` name will go.

    >>> import warnings
    >>> class Interval:
    ...     mass = 0.9
    ...     prob = renamed_property("mass", old="prob")
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     Interval().prob
    0.9
    >>> str(caught[0].message)
    'prob is now called mass; the old name goes with the next version.'
    """

    def alias(self: object) -> Any:
        _warn(old, new)
        return getattr(self, new)

    alias.__doc__ = f"Old name of ``{new}``."
    return property(alias)


def _warn(old: str, new: str) -> None:
    """Warn at the line that used the old name."""
    message = f"{old} is now called {new}; the old name goes with the next version."
    warnings.warn(message, DeprecationWarning, stacklevel=3)
