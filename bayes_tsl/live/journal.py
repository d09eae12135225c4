"""The folder of a monitored run: all that the trainer's process and the worker know of each other is in its files.

    plan.json      what is planned and asked; who finds another plan there has another run
    losses.jsonl   a line per checkpoint, in the order in which they were logged
    latest.json    the last outlook of every test set
    NAME.nc        the fit that it rests on, of each test set

Lines are appended and never changed, so that a kill loses at most a line that was not whole; the other files are there whole or
not at all. A step that is not after the last one means that training was set back: lines of that test set from there on
are the branch that was given up.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayes_tsl._common.files import whole_file
from bayes_tsl._common.validation import require
from bayes_tsl.data.loss_table import LossTable
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.errors import DataError
from bayes_tsl.inference.posterior import Fit, load_fit
from bayes_tsl.live.outlook import Outlook, outlooks_of, outlooks_to_json
from bayes_tsl.live.tracking import Plan


@dataclass(frozen=True)
class Journal:
    """The files of one monitored run.

    Attributes:
        folder: where they are.
    """

    folder: Path

    def begin(self, plan: Plan) -> None:
        """Make the folder, or go on with it.

        Raises:
            DataError: it has another run.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path, text = self.folder / "plan.json", _written(plan)
        if path.exists():
            cure = "Give every run a folder of its own."
            require(path.read_text() == text, "folder", "have this run's plan", str(self.folder), cure=cure)
            return
        with whole_file(path) as beside:
            beside.write_text(text)

    def plan(self) -> Plan:
        """What ``begin`` was given."""
        read = json.loads((self.folder / "plan.json").read_text())
        knots = read.pop("schedule")
        steps, lrs = (np.array(knots.pop(name), float) for name in ("steps", "lrs"))
        batch = read["known"].get("batch_tokens")
        if isinstance(batch, dict):  # JSON has made words of the steps
            read["known"]["batch_tokens"] = {float(step): tokens for step, tokens in batch.items()}
        return Plan(schedule=Schedule(steps=steps, lrs=lrs, **knots), **read)

    def append(self, lines: list[dict[str, Any]]) -> None:
        """Write checkpoints down, on a line of their own where the last one was cut off."""
        text = "".join(json.dumps(line) + "\n" for line in lines)
        with (self.folder / "losses.jsonl").open("a+b") as file:
            if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                text = "\n" + text
            file.write(text.encode())

    def size(self) -> int:
        """Bytes of checkpoints so far, which says whether there are more."""
        path = self.folder / "losses.jsonl"
        return path.stat().st_size if path.exists() else 0

    def losses(self) -> dict[str, LossTable]:
        """Checkpoints so far by test set, without those of branches that were given up."""
        kept: dict[str, dict[float, list[float] | float]] = {}
        for line in self._lines():
            own = kept.setdefault(line["test_set"], {})
            for step in [step for step in own if step >= line["step"]]:
                del own[step]
            own[line["step"]] = line["loss"]
        return {test_set: _table(own, test_set) for test_set, own in kept.items()}

    def last_step(self) -> float | None:
        """Step of the last checkpoint that was written down."""
        steps = [line["step"] for line in self._lines()]
        return steps[-1] if steps else None

    def _lines(self) -> list[dict[str, Any]]:
        path = self.folder / "losses.jsonl"
        if not path.exists():
            return []
        return [line for line in map(_checkpoint, path.read_bytes().splitlines(keepends=True)) if line]

    def outlooks(self) -> dict[str, Outlook]:
        """The last outlook of every test set."""
        path = self.folder / "latest.json"
        return outlooks_of(json.loads(path.read_text()) if path.exists() else {})

    def write(self, outlooks: dict[str, Outlook]) -> None:
        """Replace the outlooks."""
        with whole_file(self.folder / "latest.json") as beside:
            beside.write_text(outlooks_to_json(outlooks))

    def fit(self, test_set: str) -> Fit | None:
        """The last fit of a test set, if it can be read."""
        path = self._fit_path(test_set)
        try:
            return load_fit(path) if path.exists() else None
        except DataError:
            return None

    def keep(self, test_set: str, made: Fit) -> None:
        """Replace the fit of a test set."""
        made.save(self._fit_path(test_set))

    def _fit_path(self, test_set: str) -> Path:
        name = "".join(letter if letter.isalnum() or letter in "-_" else f"%{ord(letter):x}" for letter in test_set)
        return self.folder / f"{name}.nc"


def _checkpoint(line: bytes) -> dict[str, Any]:
    """The checkpoint of a line; empty where it was cut off."""
    try:
        return json.loads(line) if line.endswith(b"\n") else {}
    except ValueError:
        return {}


def _written(plan: Plan) -> str:
    """A plan as text, the same for the same plan."""
    schedule = plan.schedule
    knots = {"steps": schedule.steps.tolist(), "lrs": schedule.lrs.tolist()}
    knots |= {name: getattr(schedule, name) for name in ("text", "peak", "end", "known")}
    asked = {name: getattr(plan, name) for name in ("end", "target", "prob", "seed")}
    try:
        return json.dumps({"schedule": knots, **asked, "known": dict(plan.known)}, sort_keys=True)
    except TypeError as error:
        raise DataError(f"arguments of fit must be numbers, words or mappings; got {error}. Fit with them by hand.") from None


def _table(own: dict[float, list[float] | float], test_set: str) -> LossTable:
    frames = [pd.DataFrame({"step": step, "loss": np.atleast_1d(loss)}).rename_axis("position") for step, loss in own.items()]
    frame = pd.concat(frames).reset_index()
    if not any(isinstance(loss, list) for loss in own.values()):
        frame = frame.drop(columns="position")
    return LossTable.from_frame(frame.assign(test_set=test_set))
