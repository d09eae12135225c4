"""What a fit asks of its process: one BLAS thread per chain, and threads of JAX that are alive."""

from __future__ import annotations

import os

from jax._src.xla_bridge import backends_are_initialized  # there is no public name for it
from threadpoolctl import threadpool_limits

from bayes_tsl._common.threads import shared
from bayes_tsl._common.validation import require

one_blas_thread = shared(lambda: threadpool_limits(1, user_api="blas"))
"""Context or decorator in which BLAS has one thread: chains are threads already, and small matrices gain nothing from more."""

_home = os.getpid()  # where JAX may have been started


def require_not_forked() -> None:
    """Raise ``DataError`` in a process forked from one where JAX was running: its threads are not there, and it would hang."""
    global _home
    if os.getpid() == _home:
        return
    cure = "Use multiprocessing.get_context('spawn'), or fork before anything is computed."
    require(
        not backends_are_initialized(), "process", "be started with spawn", "a fork of one where JAX was running", cure=cure
    )
    _home = os.getpid()
