"""Blocks of the pages run one after the other, in a folder of their own, and tables are those that were measured."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

import bayes_tsl as bt
from benchmarks import tables
from tests.conftest import QUICK

README = Path(__file__).parents[1] / "README.md"
NUMBER = r"(?<![\w.])-?\d*\.?\d+"  # draws of another processor differ in their last digits
PAPER = README.parent / "docs" / "paper.md"


def blocks_of(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)


def words(text: str) -> list[str]:
    """Words of a printed text, every number alike; arrays are padded by their digits."""
    return re.sub(r"\s+(?=\])", "", re.sub(NUMBER, "#", text)).split()


def run_all(blocks: list[str], page: Path) -> dict[str, object]:
    """Run blocks one after the other; what they have named."""
    mpl.use("agg")
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)
    plt.close("all")
    return names


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::bayes_tsl.Notice")
def test_blocks_of_the_paper_page_run_and_print_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = blocks_of(PAPER)
    assert len(blocks) >= 6
    run_all(blocks, PAPER)
    printed = capsys.readouterr().out
    shown = "".join(re.findall(r"```text\n(.*?)```", PAPER.read_text(), flags=re.DOTALL))
    assert words(printed) == words(shown)
    for got, expected in zip(re.findall(NUMBER, printed), re.findall(NUMBER, shown), strict=True):
        digit = 10.0 ** -len(expected.partition(".")[2])
        assert abs(float(got) - float(expected)) <= 0.03 * abs(float(expected)) + 2.0 * digit, f"{got} for {expected}"


@pytest.mark.filterwarnings("ignore::bayes_tsl.Notice")
@pytest.mark.parametrize("several_runs", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_readme_blocks_run(
    several_runs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fits of several runs or test sets by position take a minute, a process beside a training half of one: the slow suite."""
    monkeypatch.chdir(tmp_path)
    blocks = [
        block for block in blocks_of(README) if several_runs or not re.search(r"schedules=\{|Monitor\(|weighted\(", block)
    ]
    assert len(blocks) >= 2
    assert len(blocks[0].strip().splitlines()) <= 11
    monkeypatch.setattr(bt, "fit", partial(bt.fit, **QUICK))
    run_all(blocks, README)
    assert "below 3.5 at the end:" in capsys.readouterr().out
    assert (tmp_path / "fit.nc").is_file()


def test_readme_pictures_exist() -> None:
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", README.read_text())
    assert pictures
    assert all((README.parent / picture).is_file() for picture in pictures)


@pytest.mark.parametrize("path", tables.PAGES, ids=lambda path: path.stem)
def test_tables_of_the_benchmarks_are_copies_of_their_results(path: Path) -> None:
    page = path.read_text()
    bare = re.sub(r"(<!-- table [\w-]+ -->).*?(?=<!-- end -->)", r"\1\n", page, flags=re.DOTALL)
    assert bare != page
    assert tables.filled(bare) == page


def test_reports_tell_of_the_calibration_that_was_measured() -> None:
    assert tables.HELD_OUT.read_text() == tables.held_out()


def test_pictures_of_the_docs_exist() -> None:
    docs = README.parent / "docs"
    shown = [(page, picture) for page in docs.glob("*.md") for picture in re.findall(r"!\[.*?\]\((.*?)\)", page.read_text())]
    assert shown
    assert all((page.parent / picture).is_file() for page, picture in shown)
