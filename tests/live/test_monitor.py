"""A monitor never disturbs training: what is wrong is logged once, what was logged is never lost, and a restart goes on."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
from bayes_tsl.live import worker
from bayes_tsl.live.journal import Journal
from tests.conftest import ORIGIN, means, refusal
from tests.live.test_tracking import KNOWN


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker is started."""
    monkeypatch.setattr(bt.Monitor, "_keep_working", lambda self: None)


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, logger="bayes_tsl")
    return caplog


def monitor(folder: Path, schedule: bt.Schedule, *, strict: bool = False, **known: Any) -> bt.Monitor:
    return bt.Monitor(schedule=schedule, folder=folder, target=3.3, strict=strict, known=KNOWN | known)


def latest(one: bt.Monitor) -> bt.Outlook:
    assert one.latest is not None
    return one.latest


def log_all(one: bt.Monitor, losses: pd.Series) -> None:
    for step, loss in zip(losses.index.to_numpy(float), losses.to_numpy(float)):
        one.log(float(step), float(loss))


def steps_of(folder: Path, test_set: str = "test") -> list[float]:
    return Journal(folder).losses()[test_set].steps.tolist()


@pytest.mark.usefixtures("idle")
def test_logging_takes_no_time_and_loses_nothing(
    tmp_path: Path, schedule: bt.Schedule, warned: pytest.LogCaptureFixture
) -> None:
    one = monitor(tmp_path / "run", schedule)
    begin = time.perf_counter()
    for step in range(100, 1100, 100):
        one.log(step, 5.0 - step / 1000)
    assert (time.perf_counter() - begin) / 10 < 0.05
    assert steps_of(tmp_path / "run") == list(range(100, 1100, 100))
    assert one.latest is None
    assert warned.messages == []


@pytest.mark.usefixtures("idle")
def test_a_step_that_goes_back_cuts_the_branch(tmp_path: Path, schedule: bt.Schedule, warned: pytest.LogCaptureFixture) -> None:
    one = monitor(tmp_path, schedule)
    for step in (100, 200, 300, 400, 250, 350):
        one.log(step, 4.0)
    assert steps_of(tmp_path) == [100, 200, 250, 350]
    assert warned.messages == ["step 250 follows 400: later checkpoints are dropped"]


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize(
    ("step", "loss", "message"),
    [
        (300, np.nan, "loss must be finite; got nan at step 300, which is left out."),
        (300, [3.0, np.inf], "loss must be finite; got 3, inf at step 300, which is left out."),
        (9000, 3.0, "schedule must reach the last forecast step 9000; got 8000. "),
        ("late", 3.0, "step must be a number above -1; got 'late'. Give the step of the checkpoint."),
    ],
)
def test_what_cannot_be_used_is_logged_once(
    tmp_path: Path, schedule: bt.Schedule, warned: pytest.LogCaptureFixture, step: float, loss: Any, message: str
) -> None:
    one, strict = monitor(tmp_path / "one", schedule), monitor(tmp_path / "strict", schedule, strict=True)
    one.log(200, 4.0)
    for _ in range(3):
        one.log(step, loss)
    assert len(warned.messages) == 1
    assert warned.messages[0].startswith(f"not monitored: {message}")
    assert steps_of(tmp_path / "one") == [200]
    with pytest.raises(bt.DataError, match=r"^(loss|schedule|step) must"):
        strict.log(step, loss)


@pytest.mark.usefixtures("idle")
def test_the_folder_of_another_run_is_left_alone(
    tmp_path: Path, schedule: bt.Schedule, warned: pytest.LogCaptureFixture
) -> None:
    monitor(tmp_path, schedule).log(100, 4.0)
    other = bt.schedules.constant(peak=1e-3, total=5000)
    one = monitor(tmp_path, other)
    one.log(200, 4.0)
    assert steps_of(tmp_path) == [100]
    cure = "Give every run a folder of its own."
    message = f"folder must have this run's plan; got {str(tmp_path)!r}. {cure}"
    assert warned.messages == [f"not monitored: {message}"]
    with refusal(message):
        monitor(tmp_path, other, strict=True)


@pytest.mark.usefixtures("idle")
def test_a_full_disk_is_survived(
    tmp_path: Path, schedule: bt.Schedule, warned: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = monitor(tmp_path, schedule)

    def full(self: Journal, lines: list) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "append", full)
        one.log(100, 4.0)
        one.log(200, 3.9)
    assert warned.messages == ["OSError: [Errno 28] No space left on device"]
    one.log(300, 3.8)
    assert steps_of(tmp_path) == [100, 200, 300]


@pytest.mark.usefixtures("idle")
def test_a_line_that_was_cut_off_costs_itself_alone(tmp_path: Path, schedule: bt.Schedule) -> None:
    monitor(tmp_path, schedule).log(100, 4.0)
    with (tmp_path / "losses.jsonl").open("a") as file:
        file.write('{"step": 200.0, "test_s')
    again = monitor(tmp_path, schedule)
    again.log(300, 3.8)
    assert steps_of(tmp_path) == [100, 300]


@pytest.mark.usefixtures("idle")
def test_test_sets_and_positions_are_kept_apart(tmp_path: Path, schedule: bt.Schedule) -> None:
    one = monitor(tmp_path, schedule)
    for step in (100, 200):
        one.log(step, {"code": [4.0, 3.0], "prose": 3.5})
    losses = Journal(tmp_path).losses()
    assert losses["code"].by_position
    assert not losses["prose"].by_position
    assert losses["code"].mean_losses().tolist() == [3.5, 3.5]


@pytest.mark.usefixtures("idle")
def test_a_worker_sees_all_before_it_ends(tmp_path: Path, schedule: bt.Schedule, simulation: bt.Simulation) -> None:
    one = monitor(tmp_path, schedule, batch_tokens={0: 1e5, 8000: 1e5})
    log_all(one, means(simulation).until(ORIGIN).mean_losses())
    ended = Event()
    ended.set()
    worker.work(Journal(tmp_path), ended)
    found = latest(one)
    assert found.step == ORIGIN
    assert found.lower < found.median < found.upper
    again = monitor(tmp_path, schedule, batch_tokens={0: 1e5, 8000: 1e5})
    assert latest(again) == found
    again.log(4200, float(means(simulation).mean_losses().loc[4200]))
    worker.look(Journal(tmp_path))
    assert latest(again).step == 4200
    assert latest(again).alarms == ()


@pytest.mark.slow
def test_a_process_beside_the_training(
    tmp_path: Path, schedule: bt.Schedule, simulation: bt.Simulation, warned: pytest.LogCaptureFixture
) -> None:
    losses = means(simulation).until(ORIGIN).mean_losses()
    with monitor(tmp_path, schedule) as one:
        log_all(one, losses.iloc[:5])
        one._worker.kill()  # pyright: ignore[reportOptionalMemberAccess]
        one._worker.wait()  # pyright: ignore[reportOptionalMemberAccess]
        log_all(one, losses.iloc[5:])
    assert warned.messages == ["the process that fits ended with status -9 and is started again"]
    assert latest(one).step == ORIGIN
    assert np.isfinite(latest(one).median)
