"""What can go wrong, and what is worth saying although nothing went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bayes_tsl.diagnostics import Diagnostics


class DataError(ValueError):
    """Input that cannot be used; the message names the value, its place and the cure."""


class ConvergenceError(RuntimeError):
    """Chains that did not agree; ``diagnostics`` says for which parameter."""

    def __init__(self, message: str, diagnostics: Diagnostics) -> None:
        super().__init__(message)
        self.diagnostics = diagnostics


class Notice(UserWarning):
    """Something the user should know about how the data were read or a fit was made."""
