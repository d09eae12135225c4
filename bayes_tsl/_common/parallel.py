"""Independent tasks, each done once: one after the other, in processes, or on a Dask cluster, with results kept in a folder."""

from __future__ import annotations

import hashlib
import multiprocessing
import warnings
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from bayes_tsl._common.files import whole_file
from bayes_tsl._common.threads import shared
from bayes_tsl._common.validation import whole_number
from bayes_tsl.errors import Notice

if TYPE_CHECKING:
    from distributed import Client

without_notices = shared(lambda: warnings.catch_warnings(action="ignore", category=Notice))
"""Context in which no notice is shown; of tasks, which may run in several threads of one process."""

_Outcome = tuple[int, Any, BaseException | None]  # number of an item, its result, or what was raised instead
_RETRIES = 3  # of a task whose worker died
_GAVE_OUT = ("RESOURCE_EXHAUSTED", "Out of memory", "can't start new thread")  # of XLA, and of Python


@dataclass(frozen=True)
class ResultStore:
    """A folder with one file per result, each under a name that depends on all that the result depends on.

    Attributes:
        folder: where the files lie, which is made with the first of them; None keeps nothing.
        read: makes a result of its file.
        write: writes a result to a file.
    """

    folder: str | Path | None
    read: Callable[[Path], Any]
    write: Callable[[Any, Path], None]

    def path(self, name: str) -> Path | None:
        """The file ``name``, whether it is there or not."""
        return None if self.folder is None else Path(self.folder) / name

    def load(self, name: str) -> Any | None:
        """The result in the file ``name``, or None where there is none; one that cannot be read is set aside, and named."""
        path = self.path(name)
        if path is None or not path.is_file():
            return None
        try:
            return self.read(path)
        except (MemoryError, PermissionError):
            raise
        except Exception as error:  # whatever reading damage leads to
            aside = path.replace(path.with_name(f"{path.name}.damaged"))
            reason = one_line(error).removesuffix(".")
            warnings.warn(f"A result is damaged and made again: {reason}. The file is {aside} now.", Notice, stacklevel=2)
            return None

    def save(self, name: str, result: Any) -> Any:
        """Write the file ``name``, whole or not at all; what comes out is the result as it is."""
        path = self.path(name)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as beside:
                self.write(result, beside)
        return result


def run_tasks(
    task: Callable[[Any], Any],
    items: Sequence[Any],
    *,
    kind: Callable[[Any], Hashable],
    load: Callable[[Any], Any | None],
    save: Callable[[Any, Any], Any],
    on_failure: Callable[[Any, BaseException], Any],
    workers: int,
    client: Client | None,
    title: str,
    unit: str,
    progress: bool,
) -> list[Any]:
    """The result of a task for each item, in the order of the items.

    Args:
        task: function of a module that makes a result of an item.
        items: what it is called with.
        kind: of an item; those of one kind run the same compiled programs, which the first of each compiles for the others.
        load: an earlier result of an item, or None.
        save: called in this process with each item and its new result, as soon as that is there; returns what stands for it
            in the list.
        on_failure: called with an item and an error where the task raised or its worker died; returns likewise.
        workers: processes on this machine.
        client: a Dask cluster to use instead.
        title: of the progress bar on stderr.
        unit: what the bar counts.
        progress: whether to show it.

    Raises:
        DataError: less than one worker.
    """
    workers = whole_number(workers, "workers", low=1, cure="1 is this process alone.")
    results = {i: result for i, item in enumerate(items) if (result := load(item)) is not None}
    todo = [i for i in range(len(items)) if i not in results]
    first = set({kind(items[i]): i for i in reversed(todo)}.values())
    todo.sort(key=lambda i: i not in first)
    with tqdm(total=len(items), initial=len(results), desc=title, unit=unit, disable=not progress) as bar:
        for number, result, error in _completed(task, [items[i] for i in todo], workers, client):
            item = items[todo[number]]
            results[todo[number]] = save(item, result) if error is None else on_failure(item, error)
            bar.update()
    return [results[i] for i in range(len(items))]


def one_line(error: BaseException) -> str:
    """Message of an error in one line; its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def is_passing(error: BaseException) -> bool:
    """Whether a task may well succeed another time: memory, files or processes of the machine gave out.

    >>> is_passing(MemoryError()), is_passing(ValueError("no usable checkpoints"))
    (True, False)
    """
    return isinstance(error, MemoryError | OSError) or any(words in str(error) for words in _GAVE_OUT)


def content_hash(*parts: object) -> str:
    """32 hexadecimal digits (of SHA-256) that depend on all of these: tables, arrays, or values with a ``repr``."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, pd.DataFrame):
            digest.update(part.to_csv().encode())
        else:
            digest.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return digest.hexdigest()[:32]


def _completed(task: Callable[[Any], Any], items: Sequence[Any], workers: int, client: Client | None) -> Iterator[_Outcome]:
    """Number of an item, and its result or what was raised instead, as they arrive."""
    if client is not None:
        from distributed import as_completed as as_arrived

        futures = {client.submit(task, item, pure=False, retries=_RETRIES): i for i, item in enumerate(items)}
        for future in as_arrived(futures):
            error = future.exception()
            yield futures[future], None if error else future.result(), error
    elif workers > 1 and len(items) > 1:
        yield from _in_processes(task, items, workers)
    else:
        for i, item in enumerate(items):
            try:
                made, raised = task(item), None
            except Exception as error:  # as in a worker
                made, raised = None, error
            yield i, made, raised


def _in_processes(task: Callable[[Any], Any], items: Sequence[Any], workers: int) -> Iterator[_Outcome]:
    """The same in processes of this machine, which share what they compile.

    One that is killed takes the others with it. Each item that they had begun is tried again alone, so that none fails for
    another; the rest goes on in new processes.
    """
    begun = workers + 1  # those that run, and the one that the pool hands out ahead
    left = list(range(len(items)))
    with TemporaryDirectory(prefix="bayes_tsl-") as programs:
        while left:
            lost = yield from _in_pool(task, items, left, workers, programs)
            for i in list(lost)[:begun]:
                for error in (yield from _in_pool(task, items, [i], 1, programs)).values():
                    yield i, None, error
            left = list(lost)[begun:]


def _in_pool(
    task: Callable[[Any], Any], items: Sequence[Any], numbers: Sequence[int], workers: int, programs: str
) -> Generator[_Outcome, None, dict[int, BaseException]]:
    """Outcomes of some items in one pool of processes; returns those that were lost with it, in their order, and why."""
    spawn, lost = multiprocessing.get_context("spawn"), {}
    pool = ProcessPoolExecutor(min(workers, len(numbers)), spawn, _share_programs, (programs,))
    try:
        futures = {pool.submit(task, items[i]): i for i in numbers}
        for future in as_completed(futures):
            error = future.exception()
            if isinstance(error, BrokenProcessPool):
                lost[futures[future]] = error
            else:
                yield futures[future], None if error else future.result(), error
    finally:
        pool.shutdown(cancel_futures=True)
    return {i: lost[i] for i in numbers if i in lost}


def _share_programs(folder: str) -> None:
    """Have JAX keep programs in this folder, as a process starts, unless the user has chosen another or none."""
    import jax

    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        warnings.filterwarnings("ignore", ".*persistent compilation cache")  # of a program that another is writing
