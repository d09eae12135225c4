"""Every public function and class shows how it is used."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import bayes_tsl as bt

PUBLIC = {
    name: getattr(bt, name) for name in bt.__all__ if inspect.isroutine(getattr(bt, name)) or inspect.isclass(getattr(bt, name))
}
NAMED = {name: one for name, one in PUBLIC.items() if not (one.__doc__ or "").startswith("Old name of")}


@pytest.mark.parametrize("one", NAMED.values(), ids=NAMED)
def test_a_public_function_or_class_has_an_example(one: Callable[..., Any]) -> None:
    doc = inspect.getdoc(one) or ""
    assert ">>> " in doc or "Example::\n" in doc, f"{one.__name__} shows no example"
