"""A forecast beside the training: ``Monitor.log`` in the training loop, ``Monitor.latest`` whenever somebody wants to know."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bayes_tsl._common.validation import require, require_number, show
from bayes_tsl.data.schedules import Schedule, as_schedule
from bayes_tsl.errors import DataError
from bayes_tsl.live.guard import Guard
from bayes_tsl.live.journal import Journal
from bayes_tsl.live.outlook import Outlook
from bayes_tsl.live.tracking import Plan

MOST_STARTS = 3  # of the worker, after which something is wrong with it


class Monitor:
    """Forecasts of a run while it trains; fits run in a process of their own, on the CPU.

    Nothing raises into the training loop, unless ``strict``: what is wrong is logged once, by the logger ``bayes_tsl``, and
    training goes on. All that is known is in the folder: a monitor made again with the same arguments goes on there.

    Args:
        schedule: planned learning rate of the whole run.
        folder: of this run alone; it is made.
        end: step to forecast, by default the last of the schedule.
        target: loss to reach.  [nats/token]
        prob: mass of the intervals.
        seed: of fits and forecasts.
        strict: raise what is wrong instead of logging it.
        known: arguments of ``fit`` that JSON can write: batch_tokens, parameters, optimizer, unique_tokens, num_draws ...

    Example::

        import bayes_tsl as bt

        plan = bt.schedules.cosine(peak=1e-3, warmup=100, total=10_000)
        known = {"batch_tokens": 524_288, "parameters": 1.2e8}
        with bt.Monitor(schedule=plan, target=3.2, folder="monitored/run1", known=known) as monitor:
            for step in range(10_000):
                ...
                if step % 100 == 0:
                    monitor.log(step, evaluate())
                    print(monitor.latest)
    """

    def __init__(
        self,
        *,
        schedule: Schedule | str,
        folder: str | Path,
        end: float | None = None,
        target: float | None = None,
        prob: float = 0.9,
        seed: int = 0,
        strict: bool = False,
        known: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self._guard = Guard(strict=strict, words=_words)
        self._unwritten: list[dict[str, Any]] = []
        self._worker: subprocess.Popen[bytes] | None = None
        self._starts, self._works = 0, False
        self._last: dict[str, float] = {}
        self._journal = Journal(self.folder)
        self._guard.attempt(lambda: self._begin(schedule, end=end, target=target, prob=prob, seed=seed, known=known or {}))

    def log(self, step: float, loss: float | ArrayLike | Mapping[str, Any], *, test_set: str = "test") -> None:
        """Write a checkpoint down, in well under 50 ms.

        Args:
            step: of the checkpoint. One that is not after the last means that training was set back: later ones are dropped.
            loss: mean loss; or losses by position, counted from 0 (position); or either by name of the test set.  [nats/token]
            test_set: name of what was evaluated, unless ``loss`` has names.
        """
        if self._works:
            self._guard.attempt(lambda: self._write(step, loss if isinstance(loss, Mapping) else {test_set: loss}))

    @property
    def latest(self) -> Outlook | None:
        """The last outlook of the first test set that was logged; None while there is none."""
        return next(iter(self.outlooks.values()), None)

    @property
    def outlooks(self) -> dict[str, Outlook]:
        """The last outlook of every test set."""
        found: list[dict[str, Outlook]] = []
        if self._works:
            self._guard.attempt(lambda: found.append(self._journal.outlooks()))
        return found[0] if found else {}

    def close(self, *, wait: bool = True) -> None:
        """Let the worker see what is left, and end; ``wait`` until it has."""
        worker, self._worker = self._worker, None
        if worker is None or worker.stdin is None:
            return
        self._guard.attempt(lambda: self._flush([]))
        worker.stdin.close()
        if wait:
            worker.wait()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close(wait=raised[0] is None)

    def _begin(self, schedule: Schedule | str, *, known: Mapping[str, Any], **asked: Any) -> None:
        schedule = as_schedule(schedule)
        self._journal.begin(Plan(schedule, known=known, **asked))
        self._schedule, self._works = schedule, True
        self._last = {test_set: float(losses.steps[-1]) for test_set, losses in self._journal.losses().items()}

    def _write(self, step: float, losses: Mapping[str, Any]) -> None:
        require_number(step, "step", low=-1.0, cure="Give the step of the checkpoint.")
        self._schedule.require_reaches(float(step))
        lines = [{"step": float(step), "test_set": name, "loss": _plain(loss, step)} for name, loss in losses.items()]
        for name in losses:
            if float(step) <= self._last.get(name, -np.inf):
                self._guard.warn(f"step {show(step)} follows {show(self._last[name])}: later checkpoints are dropped")
            self._last[name] = float(step)
        self._flush(lines)
        self._keep_working()

    def _flush(self, lines: list[dict[str, Any]]) -> None:
        """Write lines, and those that could not be written before."""
        self._unwritten += lines
        if self._unwritten:
            self._journal.append(self._unwritten)
            self._unwritten = []

    def _keep_working(self) -> None:
        """Start the worker, or start it again if it died."""
        if self._worker is not None and self._worker.poll() is None:
            return
        if self._worker is not None:
            self._worker.communicate()
            self._guard.warn(f"the process that fits ended with status {self._worker.returncode} and is started again")
        if self._starts < MOST_STARTS:
            self._starts += 1
            command = [sys.executable, "-m", "bayes_tsl.live.worker", str(self.folder)]
            away_from_the_accelerator = os.environ | {"JAX_PLATFORMS": "cpu"}
            self._worker = subprocess.Popen(command, stdin=subprocess.PIPE, env=away_from_the_accelerator)


def _words(error: Exception) -> str:
    return f"{'not monitored' if isinstance(error, DataError) else type(error).__name__}: {error}"


def _plain(loss: Any, step: float) -> float | list[float]:
    """A loss, or losses by position, as JSON writes them."""
    values = np.asarray(loss, float)
    require(values.ndim <= 1 and values.size > 0, "loss", "be a number, or one per position", values.shape)
    require(np.isfinite(values).all(), "loss", "be finite", values, where=f"at step {show(step)}, which is left out")
    return values.tolist()
