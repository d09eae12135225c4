"""Programs that commands compile are kept for the next run, and whatever happens to the folder, commands run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bayes_tsl.cli import compile_cache

PROGRAM = """
from bayes_tsl.cli.compile_cache import keep_programs
keep_programs()
import jax
print(float(jax.jit(lambda x: jax.numpy.sin(x) * x)(2.0)))
"""
MISSING = ["-m", "bayes_tsl", "forecast", "missing.csv", "--to", "10", "--out", "out"]


def run(caches: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """A process whose user has this folder of caches."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    env = inherited | {"XDG_CACHE_HOME": str(caches), "HOME": str(caches), "JAX_PLATFORMS": "cpu"} | settings
    return subprocess.run([sys.executable, *arguments], env=env, capture_output=True, text=True, timeout=120, check=False)


def computed(caches: Path, **settings: str) -> list[str]:
    """What is kept after a process has compiled a program, which must succeed without a word."""
    done = run(caches, "-c", PROGRAM, **settings)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(1.8186, abs=1e-4)
    assert done.stderr == ""
    return sorted(path.name for path in caches.rglob("*-cache")) if caches.is_dir() else []


def test_programs_are_kept_and_damage_is_mended(tmp_path: Path) -> None:
    kept = computed(tmp_path)
    assert kept
    assert computed(tmp_path) == kept
    for path in tmp_path.rglob("*-cache"):
        path.write_bytes(path.read_bytes()[:20])
    computed(tmp_path)
    assert computed(tmp_path) == kept
    assert all(path.stat().st_size > 20 for path in tmp_path.rglob("*-cache"))


def test_a_folder_that_cannot_be_made_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert computed(tmp_path / "file") == []


def test_a_folder_that_the_user_chose_is_left_as_it_is(tmp_path: Path) -> None:
    assert computed(tmp_path, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own")) == []  # too short to compile by JAX's own limit
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


@pytest.mark.parametrize("option", [[], ["--no-cache"]])
def test_commands_keep_programs_unless_told_not_to(option: list[str], tmp_path: Path) -> None:
    done = run(tmp_path, *MISSING, *option)
    assert done.stderr == "error: file must exist; got 'missing.csv'. Check the path.\n"
    assert (tmp_path / "bayes_tsl").exists() == (not option)


def test_no_cache_turns_off_a_folder_that_the_user_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "true")
    compile_cache.keep_nothing()
    assert os.environ["JAX_ENABLE_COMPILATION_CACHE"] == "false"


def test_what_was_kept_first_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for age, name in enumerate(["new", "old/middle", "old/first"]):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"0" * 100)
        os.utime(path, (1e9 - age, 1e9 - age))
    monkeypatch.setattr(compile_cache, "_MOST_BYTES", 200)
    compile_cache._trim(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["middle", "new"]
