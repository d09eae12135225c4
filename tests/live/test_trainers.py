"""What callbacks share, without the libraries they are for: a plan from a scheduler, and failures that cost a line."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import bayes_tsl as bt
from bayes_tsl.live.journal import Journal
from bayes_tsl.live.trainers import from_scheduler
from bayes_tsl.live.trainers.companion import Companion
from tests.conftest import refusal

AHEAD = bt.Outlook(step=100, loss=3.5, end=8000, median=3.1, lower=3.0, upper=3.3)
CURE = "Give schedule=, e.g. one of schedules.cosine(...)."


class Line:
    """A scheduler as PyTorch has them: a straight line from 0.01 to 0, over 1000 steps."""

    def __init__(self) -> None:
        self.optimizer = SimpleNamespace(param_groups=[{"lr": 0.01, "initial_lr": 0.01, "params": [object()]}])
        self.last_epoch = 0

    def step(self) -> None:
        self.last_epoch += 1
        self.optimizer.param_groups[0]["lr"] = 0.01 * (1 - self.last_epoch / 1000)


@pytest.fixture(autouse=True)
def idle(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """No worker is started, and what is logged is seen."""
    monkeypatch.setattr(bt.Monitor, "_keep_working", lambda self: None)
    caplog.set_level(logging.WARNING, logger="bayes_tsl")


def test_a_plan_is_what_the_scheduler_will_do() -> None:
    scheduler = Line()
    plan = from_scheduler(scheduler, total=1000)
    assert plan.steps.tolist() == [0, 1000]
    assert plan.lrs.tolist() == [0.01, 0]
    assert plan.text == "Line of 1000 steps"
    for _ in range(300):
        scheduler.step()
    again = from_scheduler(scheduler, total=1000)
    assert scheduler.last_epoch == 300
    assert scheduler.optimizer.param_groups[0]["lr"] == pytest.approx(0.007)
    assert np.array_equal(again.lrs, plan.lrs)
    scheduler.optimizer.param_groups[0]["lr"] = 0.008
    with refusal(f"scheduler must be at 0.007 after 300 steps; got 0.008 in the optimizer. {CURE}"):
        from_scheduler(scheduler, total=1000)
    with refusal(f"scheduler must be within its 200 steps; got 300. {CURE}"):
        from_scheduler(scheduler, total=200)


def test_a_scheduler_without_an_optimizer_is_refused() -> None:
    got = "SimpleNamespace ('types.SimpleNamespace' object has no attribute 'optimizer')"
    with refusal(f"scheduler must be one that can be stepped ahead without the training; got {got}. {CURE}"):
        from_scheduler(SimpleNamespace(), total=10)
    with refusal("total must be a number above 0; got 0. It is the number of steps of the whole run."):
        from_scheduler(Line(), total=0)
    with refusal("every must be a number above 0; got 0. 1 is a step of the scheduler at each of the optimizer."):
        from_scheduler(Line(), total=10, every=0)


def test_a_monitor_begins_with_what_the_trainer_knows(tmp_path: Path, schedule: bt.Schedule) -> None:
    one = Companion(tmp_path, known={"parameters": 2.0}, target=3.2)
    one.log(100, lambda: {"test": 3.0})
    assert one.metrics() == {}
    one.begin(lambda: schedule, lambda: {"parameters": 1.0, "batch_tokens": 64})
    one.log(200, lambda: {"test": 3.0})
    Journal(tmp_path).write({"test": AHEAD})
    assert one.metrics() == {"forecast/end": 3.1, "forecast/lower": 3.0, "forecast/upper": 3.3}
    one.end()
    one.log(300, lambda: {"test": 3.0})
    np.testing.assert_equal(asdict(one.latest), asdict(AHEAD))  # NaN where there is no target
    assert Journal(tmp_path).plan().known == {"parameters": 2.0, "batch_tokens": 64}
    assert Journal(tmp_path).losses()["test"].steps.tolist() == [200]


def test_a_schedule_that_is_given_goes_before_that_of_the_trainer(tmp_path: Path, schedule: bt.Schedule) -> None:
    Companion(tmp_path, schedule=schedule).begin(lambda: bt.schedules.constant(peak=1.0, total=10), dict)
    assert Journal(tmp_path).plan().schedule.text == schedule.text


def test_what_fails_costs_a_line(tmp_path: Path, schedule: bt.Schedule, caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> bt.Schedule:
        raise RuntimeError("no scheduler here")

    one = Companion(tmp_path / "run")
    for _ in range(2):
        one.begin(fails, dict)
        one.log(100, lambda: {"test": 3.0})
    assert caplog.messages == ["not monitored: no scheduler here"]
    assert one.metrics() == {}
    one.begin(lambda: schedule, dict)
    one.log(200, lambda: {}["no loss"])
    assert caplog.messages[1:] == ["not monitored: 'no loss'"]
    with pytest.raises(RuntimeError, match=r"^no scheduler here$"):
        Companion(tmp_path / "strict", strict=True).begin(fails, dict)


@pytest.mark.parametrize(("extra", "library"), [("huggingface", "transformers"), ("lightning", "lightning")])
def test_a_missing_library_is_named_with_its_extra(extra: str, library: str) -> None:
    code = f"import sys; sys.modules[{library!r}] = None; import bayes_tsl.live.trainers.{extra}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last == f"ImportError: {library} must be installed for its callback. Run pip install 'bayes_tsl[{extra}]'."
