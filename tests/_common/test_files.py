"""Files appear whole and together, or not at all: on a full disk, after an error, after a kill."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bayes_tsl._common.checksums import with_checksum, without_checksum
from bayes_tsl._common.files import whole_file, whole_files
from tests.conftest import full_disk, refusal

KILLED = """
import os, signal, sys
from pathlib import Path
from bayes_tsl._common import files

def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[2] == "whole":
    files._move_out = killed
with files.whole_files(sys.argv[1]) as beside:
    for name in "ab":
        (beside / name).write_text("new")
    if sys.argv[2] == "half":
        killed()
"""


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def old(folder: Path) -> Path:
    for name in "ab":
        (folder / name).write_text("old")
    return folder


def test_files_appear_together(tmp_path: Path) -> None:
    with whole_files(old(tmp_path)) as beside:
        for name in "ab":
            (beside / name).write_text("new")
            assert [(tmp_path / name).read_text() for name in "ab"] == ["old", "old"]
    assert content(tmp_path) == {"a": "new", "b": "new"}


def replace_both(folder: Path, text: str, then: Exception | None = None) -> None:
    with whole_files(folder) as beside:
        (beside / "a").write_text("new")
        (beside / "b").write_text(text)
        if then is not None:
            raise then


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^no$"):
        replace_both(old(tmp_path), "new", then=ValueError("no"))
    assert content(tmp_path) == {"a": "old", "b": "old"}


def test_a_full_disk_leaves_what_was_there_and_names_the_folder(tmp_path: Path) -> None:
    old(tmp_path)
    with pytest.raises(OSError, match=f"File too large: '{tmp_path}'") as raised, full_disk():
        replace_both(tmp_path, "new" * 1000)
    assert raised.value.errno == errno.EFBIG
    assert content(tmp_path) == {"a": "old", "b": "old"}


def test_one_file_has_the_rights_of_any_other(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a.csv") as beside:
        beside.write_text("new")
        assert beside.name == "a.csv"
    (tmp_path / "b.csv").write_text("new")
    assert (tmp_path / "a.csv").stat().st_mode == (tmp_path / "b.csv").stat().st_mode


def test_a_folder_is_asked_for(tmp_path: Path) -> None:
    with refusal(f"folder must exist; got '{tmp_path / 'no'}'. Create it first."), whole_file(tmp_path / "no" / "a"):
        pass


@pytest.mark.parametrize(("when", "found"), [("half", "old"), ("whole", "new")])
def test_the_next_writer_clears_up_after_a_kill(tmp_path: Path, when: str, found: str) -> None:
    """Files that were not all whole are gone; those that were take their places."""
    done = subprocess.run([sys.executable, "-c", KILLED, old(tmp_path), when], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 3
    with whole_file(tmp_path / "c") as beside:
        beside.write_text("c")
    assert content(tmp_path) == {"a": found, "b": found, "c": "c"}


def test_what_another_writes_is_left_alone(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a") as one:
        one.write_text("a")
        with whole_file(tmp_path / "b") as two:
            two.write_text("b")
    assert content(tmp_path) == {"a": "a", "b": "b"}


def test_a_checksum_vouches_for_the_content_before_it() -> None:
    written = with_checksum(b"draws")
    assert without_checksum(written, "fit.nc") == (b"draws", True)
    assert without_checksum(b"draws", "fit.nc") == (b"draws", False)
    with refusal("fit.nc must be as it was written; got 'another checksum'. Take another copy, or make it again."):
        without_checksum(written.replace(b"draws", b"drawn"), "fit.nc")
