"""Blocks of the pages print what the pages show, tables and notebooks are up to date, and the site has every public name."""

from __future__ import annotations

import ast
import re
from functools import partial
from pathlib import Path

import pytest

import bayes_tsl as bt
from benchmarks import pages, tables
from tests.conftest import QUICK

README = pages.ROOT / "README.md"
HOW_TO = sorted((pages.DOCS / "how_to").glob("*.md"))
NUMBER = r"(?<![\w.])-?\d*\.?\d+"  # draws of another processor differ in their last digits
FITS = re.compile(r"bt\.(fit|fit_each|fit_scaling|position_laws|Monitor)\(")

pytestmark = pytest.mark.filterwarnings("ignore::bayes_tsl.Notice")


def words(text: str) -> list[str]:
    """Words of a printed text, every number alike; arrays are padded by their digits."""
    return re.sub(r"\s+(?=\])", "", re.sub(NUMBER, "#", text)).split()


def require_same(printed: str, shown: str) -> None:
    """Words are the same, and numbers to 3 % or two units of their last digit."""
    assert words(printed) == words(shown)
    for got, expected in zip(re.findall(NUMBER, printed), re.findall(NUMBER, shown), strict=True):
        digit = 10.0 ** -len(expected.partition(".")[2])
        assert abs(float(got) - float(expected)) <= 0.03 * abs(float(expected)) + 2.0 * digit, f"{got} for {expected}"


def by_cost() -> list[object]:
    """Every page with code; those that fit are slow."""
    code = {page: "".join(found["code"] for found in pages.BLOCK.finditer(page.read_text())) for page in pages.pages()}
    return [pytest.param(page, id=page.stem, marks=[pytest.mark.slow] if FITS.search(code[page]) else []) for page in code]


@pytest.mark.parametrize("page", by_cost())
def test_blocks_of_a_page_print_what_it_shows(page: Path, tmp_path: Path) -> None:
    pages.prepare(tmp_path)
    for found, printed in pages.run(page, tmp_path):
        require_same(printed, found["shown"] or "")


def test_readme_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit of few draws prints the same words."""
    monkeypatch.setattr(bt, "fit", partial(bt.fit, **QUICK))
    ran = list(pages.run(README, tmp_path))
    assert len(ran[0].found["code"].strip().splitlines()) <= 11
    assert words("".join(one.printed for one in ran)) == words("".join(one.found["shown"] or "" for one in ran))
    assert "below 3.5 at the end:" in ran[0].printed
    assert (tmp_path / "fit.nc").is_file()


@pytest.mark.parametrize("page", pages.NOTEBOOKS, ids=lambda page: page.stem)
def test_notebooks_are_copies_of_their_pages(page: Path) -> None:
    pytest.importorskip("jupytext")
    assert page.with_suffix(".ipynb").read_text() == pages.notebook(page)


@pytest.mark.parametrize("path", tables.PAGES, ids=lambda path: path.stem)
def test_tables_of_the_benchmarks_are_copies_of_their_results(path: Path) -> None:
    page = path.read_text()
    bare = re.sub(r"(<!-- table [\w-]+ -->).*?(?=<!-- end -->)", r"\1\n", page, flags=re.DOTALL)
    assert bare != page
    assert tables.filled(bare) == page


def test_reports_tell_of_the_calibration_that_was_measured() -> None:
    assert tables.HELD_OUT.read_text() == tables.held_out()


@pytest.mark.parametrize("page", [README, *sorted(pages.DOCS.rglob("*.md"))], ids=lambda page: page.stem)
def test_pictures_of_a_page_exist(page: Path) -> None:
    pictures = re.findall(r"!\[[^\]]*\]\((.*?)\)", page.read_text())
    assert pictures or page != README
    assert all((page.parent / picture).is_file() for picture in pictures)


@pytest.mark.parametrize("page", HOW_TO, ids=lambda page: page.stem)
def test_a_how_to_is_short(page: Path) -> None:
    assert len(page.read_text().splitlines()) <= 120


def test_the_api_has_every_public_name() -> None:
    """Except packages, whose names are public in the package above, and old names."""
    stub = ast.parse((Path(bt.__file__).parent / "__init__.pyi").read_text())
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom) and node.module and node.module != "old_names"]
    documented = "".join(page.read_text() for page in (pages.DOCS / "api").glob("*.md"))
    assert set(re.findall(r"^::: bayes_tsl\.(\w+)$", documented, flags=re.MULTILINE)) == {
        name.name for node in imports for name in node.names
    }
