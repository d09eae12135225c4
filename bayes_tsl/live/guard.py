"""What fails beside a training is logged once, and the training goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable

_log = logging.getLogger("bayes_tsl")


class Guard:
    """Acts whose errors do not reach the training.

    Args:
        strict: raise them instead.
        words: what is logged of an error.
    """

    def __init__(self, *, strict: bool, words: Callable[[Exception], str]) -> None:
        self._strict, self._words = strict, words
        self._warned: set[str] = set()

    def attempt(self, act: Callable[[], object]) -> None:
        """Do it; what goes wrong is raised if strict, or logged once."""
        try:
            act()
        except Exception as error:
            if self._strict:
                raise
            self.warn(self._words(error))

    def warn(self, message: str) -> None:
        """Log a message that was not logged before."""
        if message not in self._warned:
            self._warned.add(message)
            _log.warning(message)
