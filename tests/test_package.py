"""What surrounds the code: the citation, the targets of the Makefile, and benchmarks without their data."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from benchmarks.public import curves

ROOT = Path(__file__).parents[1]


def test_the_citation_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {project['version']}\n" in citation
    assert re.findall(r"  - name: (.*)", citation) == [author["name"] for author in project["authors"]]
    assert re.findall(r"  - (?!name)(.*)", citation) == project["keywords"]


def test_make_help_lists_every_target() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets is not None
    assert sorted(re.findall(r"^make (\S+) +\w", shown, re.MULTILINE)) == sorted(targets[1].split())


def test_public_curves_that_are_missing_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "DATA", tmp_path)
    missing = f"{tmp_path}/modded_nanogpt/track_3_val.csv.gz is missing."
    cure = f"Set BAYES_TSL_DATA to the folder of the public loss curves, now {tmp_path}."
    with pytest.raises(SystemExit, match=f"^{re.escape(f'error: {missing} {cure}')}$"):
        curves.modded_nanogpt()
