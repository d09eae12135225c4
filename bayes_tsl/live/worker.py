"""The process that fits beside a trainer: ``python -m bayes_tsl.live.worker FOLDER``.

It looks at the checkpoints in the folder of a ``Monitor``, one test set after the other, writes down what it found, and waits
for more. When the trainer closes its end of the pipe, or dies, what is left is worked off and the process ends.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from threading import Event, Thread

from bayes_tsl.errors import DataError
from bayes_tsl.live.journal import Journal
from bayes_tsl.live.outlook import Outlook
from bayes_tsl.live.tracking import track

PAUSE = 0.5  # seconds between two looks at the folder


def look(journal: Journal) -> dict[str, Outlook]:
    """The outlook of every test set as of now, written down one after the other."""
    plan, outlooks = journal.plan(), journal.outlooks()
    for test_set, losses in journal.losses().items():
        before = journal.fit(test_set)
        try:
            made, _, outlooks[test_set] = track(losses, plan, before=before)
        except DataError as error:
            step, loss = float(losses.steps[-1]), float(losses.mean_losses().iloc[-1])
            outlooks[test_set] = Outlook(step=step, loss=loss, end=plan.last, waiting=f"not forecast: {error}")
            made = before
        if made is not None and made is not before:
            journal.keep(test_set, made)
        journal.write(outlooks)
    return outlooks


def work(journal: Journal, ended: Event, *, pause: float = PAUSE) -> None:
    """Look whenever there are more checkpoints, until the trainer has ended and all is seen."""
    seen = 0
    while True:
        last = ended.is_set()
        size = journal.size()
        if size != seen:
            look(journal)
            seen = size
        elif last:
            return
        else:
            ended.wait(pause)


def main() -> None:
    """Work until standard input is closed."""
    if hasattr(os, "nice"):
        os.nice(10)  # training comes first
    ended = Event()

    def until_closed() -> None:
        sys.stdin.buffer.read()
        ended.set()

    Thread(target=until_closed, daemon=True).start()
    work(Journal(Path(sys.argv[1])), ended)


if __name__ == "__main__":
    main()
