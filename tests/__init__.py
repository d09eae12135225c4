"""Tests mirror the package. What one worker, command line or session compiles, others read from the folder of pytest's cache.

Compiling takes four fifths of the first fit of a kind. XLA optimises less than by default, since programs of tests run briefly.
"""

from __future__ import annotations

import os
from pathlib import Path

from bayes_tsl.cli.compile_cache import keep_programs

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")
    keep_programs(Path(__file__).parents[1] / ".pytest_cache" / "programs")
