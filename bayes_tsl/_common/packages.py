"""Packages above the one that asks, for methods that are there for convenience: ``fit.forecast`` is ``forecast(fit, ...)``.

A package imports only from those below it. A method that calls a function above its own package looks that up here, by name and
when it is called, so that importing stays one-way; ``tests/test_layers.py`` lists all such methods.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def function_above(name: str) -> Any:
    """A public function of the package, by its name.

    >>> function_above("load_fit").__name__
    'load_fit'
    """
    return getattr(import_module("bayes_tsl"), name)
