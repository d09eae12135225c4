"""The examples train, and forecast on the way where they end; a minute each."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import Any

import pytest

import bayes_tsl as bt

STEPS = 600


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training waits halfway for its first forecast, which comes too late on a busy machine."""
    log = bt.Monitor.log

    def log_and_wait(self: bt.Monitor, step: float, *given: Any) -> None:
        log(self, step, *given)
        until = time.monotonic() + 600
        while step >= STEPS / 2 and (self.latest is None or self.latest.waiting) and time.monotonic() < until:
            time.sleep(0.5)

    monkeypatch.setattr(bt.Monitor, "log", log_and_wait)


@pytest.mark.slow
@pytest.mark.usefixtures("patient")
@pytest.mark.filterwarnings("ignore")  # of the libraries
@pytest.mark.parametrize(("example", "library"), [("huggingface_trainer", "transformers"), ("lightning_trainer", "lightning")])
def test_an_example_forecasts_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str], example: str, library: str) -> None:
    pytest.importorskip(library)
    forecast, ended = importlib.import_module(example).train(tmp_path, steps=STEPS)
    assert forecast.latest is not None
    assert forecast.latest.lower - 0.05 < ended < forecast.latest.upper + 0.05
    assert f"{forecast.latest}\nended at {ended:.4f}\n" in capsys.readouterr().out
