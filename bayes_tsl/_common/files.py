"""Files that are there whole or not at all, alone or several together, whatever happens to the disk or to the process.

They are written to a hidden folder beside their place. Once all are whole it gets another name, and they move out of it: what
was killed before has left nothing, what was killed after is finished by the next writer. A folder is locked while its process
lives, so that those of killed ones are known.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bayes_tsl._common.validation import file_path, require

_NEW, _PREFIX, _WHOLE = ".new-bayes_tsl-", ".bayes_tsl-", ".whole"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A path to write to; the file takes the place of ``path`` when the block ends well, and goes otherwise."""
    path = file_path(path)
    with whole_files(path.parent) as beside:
        yield beside / path.name


@contextmanager
def whole_files(folder: str | Path) -> Iterator[Path]:
    """A folder to write files to; all of them move to ``folder`` when the block ends well, and none otherwise.

    Raises:
        DataError: there is no ``folder``.
        OSError: the disk is full, of ``folder``; or whatever else the block raised.
    """
    folder = Path(folder)
    require(folder.is_dir(), "folder", "exist", str(folder), cure="Create it first.")
    _clear_leftovers(folder)
    beside = Path(tempfile.mkdtemp(dir=folder, prefix=_NEW))
    try:
        with _locked(beside):
            beside = beside.rename(folder / beside.name.replace(_NEW, _PREFIX))  # locked by now, and no leftover to others
            yield beside
            beside = beside.rename(folder / f"{beside.name}{_WHOLE}")
            _move_out(beside)
    except OSError as error:
        if error.errno in _FULL:
            raise OSError(error.errno, os.strerror(error.errno), str(folder)) from None
        raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _clear_leftovers(folder: Path) -> None:
    """Remove what killed processes left in a folder; files that were whole take their places."""
    for left in folder.glob(f"{_PREFIX}*"):
        with _locked(left) as ours:
            if ours and left.suffix == _WHOLE:
                _move_out(left)
            if ours:
                shutil.rmtree(left, ignore_errors=True)


def _move_out(beside: Path) -> None:
    for file in sorted(beside.iterdir()):
        file.replace(beside.parent / file.name)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether this process alone has the folder, until the block ends."""
    handle = _lock(folder)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            os.close(handle)


def _lock(folder: Path) -> int | None:
    """A handle that keeps a folder locked until it is closed; None where another has it, it is gone, or cannot be locked."""
    if sys.platform == "win32":
        return None
    import fcntl

    handle = None
    try:
        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        if handle is not None:
            os.close(handle)
        return None
    return handle
