"""Ctrl-C ends a command at once, with its line and its exit code.

An exception would not: raised while XLA compiles it may be swallowed by whoever called, and Python, as it ends, may take down
threads of XLA that still work, which is a crash. What was being written is in a hidden folder that the next writer clears.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import current_thread, main_thread
from typing import Any


@contextmanager
def ending_at_interrupt(message: str, code: int) -> Iterator[None]:
    """Context in which SIGINT prints a line on stderr and ends the process, and those that it started, with this exit code."""

    def end(*_: Any) -> None:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            os.write(sys.stderr.fileno(), f"\n{message}\n".encode())
        for child in multiprocessing.active_children():
            child.terminate()
        os._exit(code)

    if current_thread() is not main_thread():  # where Python allows no handler
        yield
        return
    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
