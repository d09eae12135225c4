"""What the tests of all callbacks share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

import bayes_tsl as bt
from bayes_tsl.live.journal import Journal

AHEAD = bt.Outlook(step=1, loss=3.5, end=12, median=3.1, lower=3.0, upper=3.3, target=3.2, prob_target=0.7)


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker is started."""
    monkeypatch.setattr(bt.Monitor, "_keep_working", lambda self: None)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What this package has logged."""
    caplog.set_level(logging.WARNING, logger="bayes_tsl")
    return lambda: [record.message for record in caplog.records if record.name == "bayes_tsl"]


@pytest.fixture
def forecast_folder(tmp_path: Path) -> Path:
    """Of a run whose forecast is there from its first step on."""
    (tmp_path / "run").mkdir()
    Journal(tmp_path / "run").write({"test": AHEAD})
    return tmp_path / "run"
