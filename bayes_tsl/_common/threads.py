"""What belongs to the whole process, when several threads want it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, _GeneratorContextManager, contextmanager
from threading import Lock
from typing import Any


def shared(make: Callable[[], Any]) -> Callable[[], _GeneratorContextManager[None]]:
    """A context that threads share: the first to enter opens the one that ``make`` makes, the last to leave closes it.

    Contexts that change a setting of the process, such as its warning filters, put back what they found: where threads overlap,
    one would put back what another had set. It is a decorator too.

    >>> import warnings
    >>> quiet = shared(lambda: warnings.catch_warnings(action="ignore"))
    >>> with quiet(), quiet():
    ...     warnings.warn("nobody hears this")
    """
    lock, opened, users = Lock(), ExitStack(), 0

    @contextmanager
    def entered() -> Iterator[None]:
        nonlocal users
        with lock:
            if users == 0:
                opened.enter_context(make())
            users += 1
        try:
            yield
        finally:
            with lock:
                users -= 1
                if users == 0:
                    opened.close()

    return entered
