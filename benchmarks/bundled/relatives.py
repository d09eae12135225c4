"""What relatives of a run say of its end: other runs of its family, whole runs fitted beside it, and other test sets.

    python -m benchmarks.bundled.relatives [--quick] [--workers N] [--out FOLDER]

Every fourth run of ``measured_runs``, seen until .2 and .5 of its steps, and every second one whose rate decays from .8 on,
seen until .75, its own end forecast; batch and size are known. *recipe* knows no more, *test sets* the losses on two other
test sets, *siblings* four whole runs that are no larger. Priors are those of *other* families than small_lm and gpt_positions,
or those of the *own* family, small_lm, which other runs of the same trainer taught; with these, *averaged*, *branch* and *all*
are as in knowledge.py. Chains are two and short. --quick: every twentieth of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

import bayes_tsl as bt
from bayes_tsl.model.priors import family
from benchmarks.bundled.knowledge import BEFORE_DECAY, PREFIXES, left_out_priors, scored, seen_of, summary
from benchmarks.bundled.measured_runs import MeasuredRun, measured_runs, plain
from benchmarks.common import SHORT, judged_rows, keep, options
from benchmarks.public.curves import by_hash

SIBLINGS = 4  # whole runs that a run is fitted with
WITH_OTHER_PRIORS = ("recipe", "test sets", "siblings")


def judged(run: MeasuredRun, share: float, families: str) -> list[dict[str, object]]:
    """Scores of the end of one run from this share on, with each thing known."""
    alone, with_branch = seen_of(run, share)
    known: dict[str, Mapping[str, Any]] = {
        "recipe": {"losses": plain(alone)},
        "test sets": {"losses": on_all_test_sets(run).until(share * run.total)},
        "siblings": beside_siblings(run, plain(alone)),
        "averaged": {"losses": replace(alone, gradient_noise=None)},
        "branch": {"losses": plain(with_branch)},
        "all": {"losses": with_branch},
    }
    names = WITH_OTHER_PRIORS if families == "other" else known
    priors = left_out_priors() if families == "other" else family("small_lm")
    settings = {"schedules": run.schedules, "priors": priors, **SHORT}
    rows = {name: scored(run, settings | known[name] | ({} if name == "siblings" else run.known)) for name in names}
    return [row | {"seen": share, "families": families, "knows": name} for name, row in rows.items()]


def on_all_test_sets(run: MeasuredRun) -> bt.LossTable:
    """Losses of the run on three test sets."""
    [own] = [each for each in measured_runs("prose", "code", "ood") if each.name == run.name]
    return plain(own.losses.select(run=run.name))


def beside_siblings(run: MeasuredRun, past: bt.LossTable) -> dict[str, Any]:
    """What to fit the past of a run with whole runs that are no larger."""
    named = {each.name: each for each in measured_runs() if each.known["parameters"] <= run.known["parameters"]}
    runs = [named[name] for name in by_hash(name for name in named if name != run.name)[:SIBLINGS]]
    whole = [plain(each.losses.select(run=each.name)) for each in runs]
    return {
        "losses": bt.LossTable.from_frame(pd.concat([each.frame for each in (*whole, past)])),
        "schedules": {each.name: each.schedules[each.name] for each in (*runs, run)},
        "runs": pd.DataFrame([{"run": each.name, **each.known} for each in (*runs, run)]),
    }


def cells(runs: list[MeasuredRun]) -> list[tuple[MeasuredRun, float, str]]:
    """Which run is forecast from which share on, with priors of which families."""
    early = [(run, share) for run in runs[::4] for share in PREFIXES]
    late = [(run, BEFORE_DECAY) for run in [run for run in runs if "_wsd_" in run.name][::2]]
    return [(run, share, families) for families in ("other", "own") for run, share in (*early, *late)]


def main() -> None:
    asked = options(__doc__, "relatives")
    todo = cells(measured_runs())[:: 20 if asked.quick else 1]
    keep(summary(judged_rows(judged, *zip(*todo), asked=asked), by=("families", "seen", "knows")), asked.table)


if __name__ == "__main__":
    main()
