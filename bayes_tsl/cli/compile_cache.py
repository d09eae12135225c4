"""Compiled programs kept for the next run of a command, in the user's cache folder, by JAX itself.

Compiling is most of a short fit. JAX reads where to keep programs from the environment when it is imported, which processes
that a command starts inherit; a folder that the user has chosen, ``JAX_COMPILATION_CACHE_DIR``, is left as it is. What XLA
compiles for one CPU may not run on another, so each kind has a folder of its own, as has each version. JAX's own bound on
the size locks a file at every look-up and counts one version alone; here what is over ``_MOST_BYTES`` in all goes at the start.
"""

from __future__ import annotations

import os
import platform
import shutil
import warnings
import zlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

_MOST_BYTES = 256 * 2**20  # a forecast takes 2 MB
_CPU = ("model name", "flags", "Features", "CPU part")  # lines of /proc/cpuinfo that tell kinds of CPU apart


def keep_programs(root: Path | None = None) -> None:
    """Have JAX keep programs from when it is imported; nothing where the folder cannot be written.

    Args:
        root: the folder, by default the user's cache folder.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    root = user_cache_path("bayes_tsl", appauthor=False) if root is None else root
    folder = root / f"{version('bayes_tsl')}-jax-{version('jax')}-{_machine()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _trim(root)
    except OSError:
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    _empty_if_damaged(folder)


def keep_nothing() -> None:
    """Have JAX neither read nor keep programs from when it is imported."""
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"


def _machine() -> str:
    """A name for the kind of this machine: system, architecture, and a checksum of what its CPU can do."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().split("\n\n")[0].splitlines() if listed.exists() else [platform.processor()]
    shown = [line for line in lines if line.startswith(_CPU)] or lines
    return f"{platform.system()}-{platform.machine()}-{zlib.crc32(chr(10).join(shown).encode()):08x}".lower()


def _trim(root: Path) -> None:
    """Remove the programs that were kept first, of any version, until the others are few enough."""
    kept = [(path, path.stat()) for path in root.rglob("*") if path.is_file()]
    size = 0
    for path, about in sorted(kept, key=lambda file: file[1].st_mtime, reverse=True):
        size += about.st_size
        if size > _MOST_BYTES:
            path.unlink(missing_ok=True)


def _empty_if_damaged(folder: Path) -> None:
    """Remove the folder, without a word, once JAX warns that it cannot read it or write to it: the program is compiled anew."""
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if "persistent compilation cache" in str(message):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            usual(message, category, *where, **more)

    warnings.showwarning = show
