"""A ``bayes-tsl`` command that prints the seconds of each of its phases, as JSON on the last line.

    python benchmarks/cost/timed_command.py COMMAND ...

Of whichever ``bayes_tsl`` is imported. A phase is a function of PHASES, wrapped before others import it; where one runs within
another, its seconds are its own alone. So are those in which JAX lowers and compiles.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

PHASES = {
    "bayes_tsl.inference.fitting.fit": "fit",
    "bayes_tsl.forecasting.predict.forecast": "forecast",
    "bayes_tsl.analysis.sensitivity.prior_sensitivity": "prior",
}
took: dict[str, float] = {}
running: list[str] = []
since = [time.perf_counter()]


def charge() -> None:
    """Add the time since the last look to the phase that runs."""
    now = time.perf_counter()
    if running:
        took[running[-1]] = took.get(running[-1], 0.0) + now - since[0]
    since[0] = now


def timed(phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def within(*args: Any, **options: Any) -> Any:
        charge()
        running.append(phase)
        try:
            return function(*args, **options)
        finally:
            charge()
            running.pop()

    return within


def compiled(event: str, seconds: float, **_: Any) -> None:
    """Move the seconds of a compilation from the phase that runs to one of their own."""
    if event in ("/jax/core/compile/backend_compile_duration", "/jax/core/compile/jaxpr_to_mlir_module_duration"):
        charge()
        took[running[-1]] -= seconds
        took["compiling"] = took.get("compiling", 0.0) + seconds


def wrap(where: str, phase: str) -> None:
    module, name = where.rsplit(".", 1)
    home = importlib.import_module(module)
    setattr(home, name, timed(phase, getattr(home, name)))


def run() -> None:
    """Import and run the command; all but its phases is the rest."""
    with suppress(ImportError):  # a checkout that keeps no programs
        importlib.import_module("bayes_tsl.cli.compile_cache").keep_programs()  # before JAX is imported
    importlib.import_module("jax").monitoring.register_event_duration_secs_listener(compiled)
    for where, phase in PHASES.items():
        wrap(where, phase)
    command = importlib.import_module("bayes_tsl.cli.main").main
    with suppress(SystemExit):
        command()


if __name__ == "__main__":
    timed("rest", run)()
    print(json.dumps(took))
