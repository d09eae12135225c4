"""JAX as this package computes with it, whatever the user has set, in a process where it can run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import jax
from jax._src.xla_bridge import backends_are_initialized  # there is no public name for it

from bayes_tsl._common.validation import require

_home = os.getpid()  # the process in which JAX may have been started


@contextmanager
def float64() -> Iterator[None]:
    """Context of this thread in which JAX has 64 bits, promotes types and ranks, and lets NaN pass, as samplers need it.

    Raises:
        DataError: JAX cannot start, or this process was forked from one where it runs.

    >>> with float64():
    ...     jax.numpy.ones(2).dtype
    dtype('float64')
    """
    _require_running()
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        jax.debug_nans(False),
        jax.debug_infs(False),
    ):
        yield


def _require_running() -> None:
    global _home
    if os.getpid() != _home:  # threads of JAX stayed where it was started, and a program would wait for them for ever
        cure = "Use multiprocessing.get_context('spawn'), or fork before anything is computed."
        got = "a fork of one where JAX was running"
        require(not backends_are_initialized(), "process", "be started with spawn", got, cure=cure)
        _home = os.getpid()
    if not backends_are_initialized():
        try:
            jax.devices()
        except (RuntimeError, AssertionError):  # the one where it does not know the platform, the other where there is none
            cure = "Set it to cpu, or leave it out."
            require(False, "JAX_PLATFORMS", "name a device of this machine", jax.config.values["jax_platforms"], cure=cure)
