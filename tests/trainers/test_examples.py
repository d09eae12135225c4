"""The examples train, and forecast on the way where they end; a minute or two each."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the libraries
@pytest.mark.parametrize(("example", "library"), [("huggingface_trainer", "transformers"), ("lightning_trainer", "lightning")])
def test_an_example_forecasts_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str], example: str, library: str) -> None:
    pytest.importorskip(library)
    forecast, ended = importlib.import_module(example).train(tmp_path)
    assert forecast.latest is not None
    assert forecast.latest.lower - 0.05 < ended < forecast.latest.upper + 0.05
    assert f"{forecast.latest}\nended at {ended:.4f}\n" in capsys.readouterr().out
