"""What can go wrong, and what is worth saying although nothing went wrong."""

from __future__ import annotations


class DataError(ValueError):
    """Input that cannot be used; the message names the value, its place and the cure."""


class Notice(UserWarning):
    """Something the user should know about how the data were read or a fit was made."""
