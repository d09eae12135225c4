"""What a fit asks of its process: one BLAS thread."""

from __future__ import annotations

from threadpoolctl import threadpool_limits

from bayes_tsl._common.threads import shared

one_blas_thread = shared(lambda: threadpool_limits(1, user_api="blas"))
"""Context or decorator in which BLAS has one thread: chains are threads already, and small matrices gain nothing from more."""
