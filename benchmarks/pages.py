"""Run the code of the pages, and write what it prints below it; also draw the pictures that it draws, and make the notebooks.

    python -m benchmarks.pages [PAGE ...]

Python blocks are run, and so are the ``bayes-tsl`` commands of a ``sh`` block that a ``text`` block follows. The ``text`` block
below a block has what it prints, and a picture below that, in docs/images/pages, is the figure that it leaves open. Every
page starts with the fit that the quickstart saved (docs/fit.nc). A page with an error stays as it was; the others are still
made.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt

from benchmarks.common import ROOT

DOCS = ROOT / "docs"
FIT = DOCS / "fit.nc"
BLOCK = re.compile(
    r"^```(?P<language>python|sh)\n(?P<code>.*?)^```\n"
    r"(?P<text>\n```text\n(?P<shown>.*?)^```\n)?"
    r"(?P<picture>\n!\[[^\]]*\]\((?P<path>[^)]*images/pages/[^)]+)\)\n)?",
    re.DOTALL | re.MULTILINE,
)
QUICKSTART = DOCS / "quickstart.md"
NOTEBOOKS = (QUICKSTART, DOCS / "how_to" / "schedules.md")


class Ran(NamedTuple):
    """One block of a page that was run.

    Attributes:
        found: where the page has it.
        printed: what it printed.
    """

    found: re.Match[str]
    printed: str


def pages() -> list[Path]:
    """Every page that has blocks, the quickstart first."""
    every = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
    return [QUICKSTART, *(page for page in every if page != QUICKSTART and BLOCK.search(page.read_text()))]


def prepare(folder: Path) -> None:
    """The files that pages find in their folder: the fit of the quickstart."""
    if FIT.is_file():
        shutil.copy(FIT, folder)


def run(page: Path, folder: Path) -> Iterator[Ran]:
    """Run the blocks of a page one after the other, in a folder; figures stay open until the next."""
    mpl.use("agg")
    names: dict[str, object] = {}
    with _inside(folder):
        for found in BLOCK.finditer(page.read_text()):
            plt.close("all")
            yield Ran(found, _printed(found, names, page))
    plt.close("all")


def refresh(page: Path, folder: Path) -> None:
    """Write what the blocks of a page print and draw."""
    text, shift = page.read_text(), 0
    for found, printed in run(page, folder):
        if found["path"] and plt.get_fignums():
            plt.gcf().savefig(page.parent / found["path"], dpi=120, bbox_inches="tight")
        start, end = found.span("text") if found["text"] else (found.end("code") + 4,) * 2
        shown = f"\n```text\n{printed}```\n" if printed else ""
        text = text[: start + shift] + shown + text[end + shift :]
        shift += len(shown) - (end - start)
    page.write_text(text)


def notebook(page: Path) -> str:
    """A page as a Jupyter notebook, its outputs those that the page shows."""
    import jupytext
    import nbformat
    from nbformat.v4 import new_output

    book = jupytext.reads(BLOCK.sub(_without_output, page.read_text()), fmt="md")
    shown = [found["shown"] for found in BLOCK.finditer(page.read_text()) if found["language"] == "python"]
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    for cell, text in zip(code, shown, strict=True):
        cell.outputs = [new_output("stream", name="stdout", text=text)] if text else []
    for index, cell in enumerate(book.cells):
        cell.id = f"cell-{index}"
    book.metadata = nbformat.from_dict({"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}})
    return nbformat.writes(book) + "\n"


def _without_output(found: re.Match[str]) -> str:
    language = "python" if found["language"] == "python" else "console"  # a sh block would become a cell that runs
    return f"```{language}\n{found['code']}```\n"


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _printed(found: re.Match[str], names: dict[str, object], page: Path) -> str:
    out = StringIO()
    with redirect_stdout(out):
        if found["language"] == "python":
            exec(compile(found["code"], str(page), "exec"), names)
        elif found["text"]:
            for command in found["code"].replace("\\\n", " ").splitlines():
                _command(shlex.split(command))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _command(words: list[str]) -> None:
    from bayes_tsl.cli.main import cli

    if words[0] != "bayes-tsl":
        raise ValueError(f"a sh block with output must run bayes-tsl; got {words[0]!r}. Leave its text block out.")
    cli.main(words[1:], prog_name="bayes-tsl", standalone_mode=False)


def main(names: list[str]) -> int:
    """Refresh pages, by default all; how many of them failed."""
    with tempfile.TemporaryDirectory() as made:
        every = [Path(name).resolve() for name in names] or pages()
        failed = [page for page in every if not _refreshed(page, Path(made))]
    for page in NOTEBOOKS:
        page.with_suffix(".ipynb").write_text(notebook(page))
    return len(failed)


def _refreshed(page: Path, folder: Path) -> bool:
    """Whether a page ran."""
    print(f"running {page.relative_to(ROOT)}", flush=True)
    prepare(folder)
    try:
        refresh(page, folder)
    except Exception:
        traceback.print_exc()
        return False
    if page == QUICKSTART:
        shutil.copy(folder / FIT.name, FIT)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
