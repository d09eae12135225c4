"""``bayes-tsl watch``: a log is read again whenever it changes, and every new checkpoint is a line."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from bayes_tsl._common.validation import require, require_choice, require_number
from bayes_tsl.cli.console import Console
from bayes_tsl.cli.exit_codes import DONE, GATE
from bayes_tsl.cli.inputs import draws_from, recipe_from, require_one
from bayes_tsl.cli.interrupts import ending_at_interrupt
from bayes_tsl.cli.options import GATES, LOG_OPTIONS
from bayes_tsl.cli.outputs import require_writable
from bayes_tsl.cli.schedules import read_schedule
from bayes_tsl.data.logs import read_log
from bayes_tsl.data.loss_table import LossTable
from bayes_tsl.errors import DataError, Notice
from bayes_tsl.inference.posterior import Fit
from bayes_tsl.live.journal import Journal
from bayes_tsl.live.outlook import Outlook
from bayes_tsl.live.tracking import Plan, track
from bayes_tsl.reporting.page import report

UNLIKELY = 0.05  # probability of the target below which it counts as missed
Options = Mapping[str, Any]


def watch_log(log: Path, out: Path, **options: Any) -> int:
    """Follow a log until its run ends or a gate fails."""
    require_number(options["every"], "--every", low=0.0, cure="It is in seconds.")
    gates = [gate.strip() for gate in options["fail_on"].split(",") if gate.strip()]
    for gate in gates:
        require_choice(gate, "--fail-on", GATES, cure="Give some, with commas between.")
    aimed = "target-missed" not in gates or options["target"] is not None
    require(aimed, "--fail-on target-missed", "come with --target", [], cure="Give the loss to reach.")
    require_writable(out)
    console = Console(quiet=options["quiet"])
    seen: float | None = None
    with ending_at_interrupt("stopped watching.", DONE):
        for losses in _versions(log, options, console):
            if losses.steps[-1] == seen:
                continue
            seen = float(losses.steps[-1])
            outlook = _look(losses, out, options)
            console.result(str(outlook))
            failed = [gate for gate in gates if _fails(gate, outlook)]
            if failed:
                click.echo(f"failed: {', '.join(failed)}", err=True)
                return GATE
            if seen >= outlook.end:
                break
    return DONE


def _versions(log: Path, options: Options, console: Console) -> Iterator[LossTable]:
    """The losses of a log as it is now and, unless once is enough, whenever it has changed."""
    stamp, kinds = None, set()
    while True:
        now = _stamp(log)
        if now != stamp:
            stamp = now
            try:
                table = _read(log, options, console, kinds)
                yield table.select(run=options["run"] if options["run"] in table.runs else None, test_set=options["test_set"])
            except (DataError, OSError) as error:
                if options["once"]:
                    raise
                console.note(" ".join(str(error).split()))  # e.g. written to right now, or rotated away
        if options["once"]:
            return
        time.sleep(options["every"])


def _read(log: Path, options: Options, console: Console, kinds: set[str]) -> LossTable:
    """The losses of a log; notices go to stderr, each kind once, whatever its numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        table = read_log(log, **{name: options[name] for name in ("run", *LOG_OPTIONS)})
    for notice in table.notices:
        if (kind := re.sub(r"[\d.]+", "#", notice)) not in kinds:
            console.note(notice)
            kinds.add(kind)
    return table


def _stamp(log: Path) -> list[tuple[str, int, int]]:
    """What changes when a file, or one of a folder, is written to."""
    files = sorted(log.rglob("*")) if log.is_dir() else [log]
    return [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files if path.is_file()]


def _look(losses: LossTable, out: Path, options: Options) -> Outlook:
    """The outlook of the run, written down with the fit and the page."""
    require_one(losses, "LOG")
    known = {name: value for name, value in recipe_from(dict(options)).items() if value is not None}
    known["num_draws"] = draws_from(dict(options))
    schedule = read_schedule(options["schedule"], losses, options["run"])
    asked = {name: options[name] for name in ("end", "target", "prob", "seed")}
    plan, journal = Plan(schedule, known=known, **asked), Journal(out)
    out.mkdir(parents=True, exist_ok=True)
    before = _usable(journal.fit("fit"), losses, plan)
    made, ahead, outlook = track(losses, plan, before=before)
    if made is not None and made is not before:
        journal.keep("fit", made)
    journal.write({losses.test_sets[0]: outlook})
    if made is not None and ahead is not None:
        report(made, ahead, losses=losses, target=plan.target, prob=plan.prob).save(out / "report.html")
    return outlook


def _usable(before: Fit | None, losses: LossTable, plan: Plan) -> Fit | None:
    """The fit that was kept, if it is of the same run, test set and schedule."""
    if before is None:
        return None
    same = (before.run, before.test_set, before.schedule.text) == (losses.runs[0], losses.test_sets[0], plan.schedule.text)
    return before if same else None


def _fails(gate: str, outlook: Outlook) -> bool:
    if gate == "target-missed":
        return outlook.prob_target < UNLIKELY
    return any(gate == "alarm" or "diverging" in alarm for alarm in outlook.alarms)
