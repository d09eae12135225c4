"""What a command prints: results on stdout, notes and a progress bar on stderr, each note once."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import click

from bayes_tsl.errors import Notice
from bayes_tsl.inference.posterior import Fit
from bayes_tsl.reporting.content import json_text

_RAISE = "--draws 2000 raises num_draws; num_warmup and target_accept are arguments of bt.fit in Python"


@dataclass(frozen=True)
class Console:
    """Where the lines of one command go.

    Attributes:
        quiet: stderr stays empty, but for errors.
        json: stdout is one JSON object.
        printed: notes that were printed so far.
    """

    quiet: bool = False
    json: bool = False
    printed: set[str] = field(default_factory=set, init=False)

    @property
    def progress(self) -> bool:
        """Whether to draw a progress bar: only for a person at a terminal."""
        return not self.quiet and sys.stderr.isatty()

    def result(self, *lines: str) -> None:
        """Print lines of the result, unless it is printed as JSON."""
        if not self.json:
            click.echo("\n".join(lines))

    def tree(self, tree: dict[str, Any]) -> None:
        """Print the result as JSON, if that was asked for."""
        if self.json:
            click.echo(json_text(tree), nl=False)

    def note(self, notice: str) -> None:
        """Print a note on stderr, unless it was printed before."""
        if not self.quiet and notice not in self.printed:
            click.echo(f"note: {notice}", err=True)
            self.printed.add(notice)

    def new(self, notices: Iterable[str]) -> list[str]:
        """Those notices that were not printed before."""
        return [notice for notice in notices if notice not in self.printed]

    @contextmanager
    def notices(self) -> Iterator[None]:
        """Context in which notices are notes on stderr."""

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, Notice):
                self.note(str(message))
            else:
                usual(message, category, *where, **more)

        with warnings.catch_warnings():
            warnings.simplefilter("always", Notice)
            usual, warnings.showwarning = warnings.showwarning, show
            yield

    def verdict(self, posterior: Fit) -> None:
        """Print whether the chains agreed, what contradicts the model, and the notes on the fit that are new."""
        notes = self.new(notice for notice in posterior.notices if notice not in posterior.misfits)
        misfits = [f"MISFIT: {misfit}" for misfit in posterior.misfits]
        self.result(posterior.diagnostics.verdict, *misfits, *(f"note: {note}" for note in notes))
        if not posterior.converged:
            self.note(_RAISE)
