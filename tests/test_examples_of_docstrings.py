"""Every public function shows how it is called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import bayes_tsl as bt

PUBLIC = {name: getattr(bt, name) for name in bt.__all__ if inspect.isfunction(getattr(bt, name))}
NAMED = {name: function for name, function in PUBLIC.items() if not (function.__doc__ or "").startswith("Old name of")}


@pytest.mark.parametrize("function", NAMED.values(), ids=NAMED)
def test_a_public_function_has_an_example(function: Callable[..., Any]) -> None:
    doc = inspect.getdoc(function) or ""
    assert ">>> " in doc or "Example::\n" in doc, f"{function.__name__} shows no example"
