"""Tasks that have nothing to do with each other: one after the other, in processes, or on a Dask cluster; each done once."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from bayes_tsl._common.validation import require

if TYPE_CHECKING:
    from distributed import Client

_RETRIES = 3  # of a task whose worker died


def do_each(
    task: Callable[[Any], Any],
    given: Sequence[Any],
    *,
    found: Callable[[Any], Any | None],
    keep: Callable[[Any, Any], Any],
    lost: Callable[[Any, BaseException], Any],
    workers: int,
    client: Client | None,
    title: str,
    unit: str,
    progress: bool,
) -> list[Any]:
    """What came of a task for each of the values given, in their order.

    Args:
        task: a function of a module; it does not raise.
        given: what it is called with.
        found: what came of it at another time, or None.
        keep: called here with each value and result as soon as it is there; returns what is to be handed back of it.
        lost: stands in for a result whose worker died.
        workers: processes on this machine.
        client: a Dask cluster to use instead.
        title: of the bar on stderr.
        unit: what the bar counts.
        progress: whether to show it.

    Raises:
        DataError: less than one worker.
    """
    require(workers >= 1, "workers", "be 1 or more", workers, cure="1 is this process alone.")
    results = {i: result for i, one in enumerate(given) if (result := found(one)) is not None}
    todo = [i for i in range(len(given)) if i not in results]
    with tqdm(total=len(given), initial=len(results), desc=title, unit=unit, disable=not progress) as bar:
        for at, result, error in _arriving(task, [given[i] for i in todo], workers, client):
            one = given[todo[at]]
            results[todo[at]] = keep(one, result) if error is None else lost(one, error)
            bar.update()
    return [results[i] for i in range(len(given))]


def reason(error: BaseException) -> str:
    """Why a task failed, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def named_after(*parts: object) -> str:
    """A name of 32 letters and digits for a file that depends on all of these."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, pd.DataFrame):
            digest.update(part.to_csv().encode())
        else:
            digest.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return digest.hexdigest()[:32]


def _arriving(
    task: Callable[[Any], Any], given: Sequence[Any], workers: int, client: Client | None
) -> Iterator[tuple[int, Any, BaseException | None]]:
    """Number of a value, and what came of it or how its worker died, as they arrive."""
    if client is not None:
        from distributed import as_completed as as_arrived

        futures = {client.submit(task, one, pure=False, retries=_RETRIES): i for i, one in enumerate(given)}
        for future in as_arrived(futures):
            error = future.exception()
            yield futures[future], None if error else future.result(), error
    elif workers > 1 and len(given) > 1:
        pool = ProcessPoolExecutor(min(workers, len(given)), mp_context=multiprocessing.get_context("spawn"))
        try:
            futures = {pool.submit(task, one): i for i, one in enumerate(given)}
            for future in as_completed(futures):
                error = future.exception()
                yield futures[future], None if error else future.result(), error
        finally:
            pool.shutdown(cancel_futures=True)
    else:
        for i, one in enumerate(given):
            yield i, task(one), None
