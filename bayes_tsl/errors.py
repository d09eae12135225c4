"""What can go wrong, and what is worth saying although nothing went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bayes_tsl.inference.diagnostics import Diagnostics


class DataError(ValueError):
    """Input that cannot be used; the message names the value, its place and the cure."""


class ConvergenceError(RuntimeError):
    """Chains that did not agree, for which ``diagnostics`` says why; or least squares that did not settle, which has none."""

    def __init__(self, message: str, diagnostics: Diagnostics | None = None) -> None:
        super().__init__(message)
        self.diagnostics = diagnostics


class Notice(UserWarning):
    """Something the user should know about how the data were read or a fit was made."""
