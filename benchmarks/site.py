"""What the built site needs beside mkdocs.yml: equations as MathML, without a script, full tables, and doctests as code."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import griffe
from latex2mathml.converter import convert
from mkdocs.structure.files import File

RESULTS = Path(__file__).with_name("results")
EQUATION = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
DOCTEST = re.compile(r"^( *)(>>> .*(?:\n.+)*)", re.MULTILINE)


def on_page_content(content: str, **_: Any) -> str:
    """The page with MathML in place of LaTeX."""
    return EQUATION.sub(_mathml, content)


def on_files(files: Any, *, config: Any) -> Any:
    """The pages, and the full tables of the benchmarks below ``results``."""
    for path in sorted(RESULTS.glob("*.csv")):
        files.append(File.generated(config, f"results/{path.name}", abs_src_path=str(path)))
    return files


class Doctests(griffe.Extension):
    """Doctests of docstrings are blocks of code, as they would be in a section of their own."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            fenced = DOCTEST.sub(r"\1```pycon\n\1\2\n\1```", obj.docstring.value)
            obj.docstring.value = re.sub(r"::$", ":\n", fenced, flags=re.MULTILINE)


def _mathml(found: re.Match[str]) -> str:
    return convert(html.unescape(found[2].strip()), display="block" if found[1] == "div" else "inline")
