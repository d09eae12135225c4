"""Blocks of the README run as they stand, one after the other, in a folder of their own."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
import tables

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.filterwarnings("ignore::bayes_tsl.Notice")
def test_readme_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    mpl.use("agg")
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(blocks) >= 2
    assert len(blocks[0].strip().splitlines()) <= 11
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    plt.close("all")
    assert "below 3.5 at the end:" in capsys.readouterr().out
    assert (tmp_path / "fit.nc").is_file()


def test_readme_pictures_exist() -> None:
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", README.read_text())
    assert pictures
    assert all((README.parent / picture).is_file() for picture in pictures)


def test_tables_of_the_benchmarks_are_copies_of_their_results() -> None:
    page = tables.DOCS.read_text()
    bare = re.sub(r"^\|.*\n", "", page, flags=re.MULTILINE)
    assert bare != page
    assert tables.filled(bare) == page


def test_reports_tell_of_the_calibration_that_was_measured() -> None:
    assert tables.HELD_OUT.read_text() == tables.held_out()


def test_pictures_of_the_docs_exist() -> None:
    docs = tables.DOCS.parent
    shown = [(page, picture) for page in docs.glob("*.md") for picture in re.findall(r"!\[.*?\]\((.*?)\)", page.read_text())]
    assert shown
    assert all((page.parent / picture).is_file() for page, picture in shown)
