"""Fits in threads of one process, and in processes that were forked."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Barrier, Thread

import jax
import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import bayes_tsl as bt
from bayes_tsl._common.blas import one_blas_thread
from bayes_tsl._common.parallel import without_notices
from bayes_tsl.inference.posterior import example_fit
from bayes_tsl.inference.preconditioning import unconstrained
from bayes_tsl.model.single_run import model
from tests.conftest import QUICK, TRUTH

PLAN = bt.schedules.cosine(peak=2e-3, warmup=100, total=2000, final=2e-4)
FEW = QUICK | {"num_draws": 50}
STEPS = np.arange(100.0, 1001.0, 100.0)


def losses(*seeds: int) -> bt.LossTable:
    noise = {f"run{seed}": 0.004 * np.random.default_rng(seed).standard_normal(len(STEPS)) for seed in seeds}
    made = [
        pd.DataFrame({"run": run, "step": STEPS, "loss": 3 + 3 * (STEPS / 100) ** -0.5 + own}) for run, own in noise.items()
    ]
    return bt.LossTable.from_frame(pd.concat(made))


def fitted(seed: int) -> np.ndarray:
    with without_notices():
        return bt.fit(losses(seed), schedule=PLAN, **FEW).data["posterior"]["heat"].to_numpy()


def test_models_are_traced_by_one_thread_at_a_time() -> None:
    """NumPyro's handlers of two threads would see each other's sites, or fall over them."""
    design, priors = example_fit().design, example_fit().priors
    args = (design, priors)
    sites = {name: values[0, 0].to_numpy() for name, values in example_fit().sampled().items()}

    given = {name: value for name, value in TRUTH.items() if not name.startswith(("gap", "rate"))}

    def trace(seed: int) -> tuple[str, np.ndarray]:
        for _ in range(3):
            program = jax.make_jaxpr(partial(unconstrained.__wrapped__, model, args))(sites)
        run = bt.simulate(steps=STEPS, schedule=PLAN, origin=500.0, parameters=given, seed=seed)
        return str(program), run.losses.frame["loss"].to_numpy()

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(trace, range(4)))
    for seed, (program, run) in enumerate(made):
        alone = trace(seed)
        assert program == alone[0]
        np.testing.assert_array_equal(run, alone[1])


@pytest.mark.slow
def test_fits_in_threads_are_those_of_one_thread() -> None:
    """All start together, before anything is compiled."""
    start = Barrier(4)

    def together(seed: int) -> np.ndarray:
        start.wait()
        return fitted(seed)

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(together, range(4)))
    for seed in (0, 3):
        np.testing.assert_array_equal(made[seed], fitted(seed))


def test_threads_that_overlap_leave_the_process_as_it_was() -> None:
    """The one that came first goes first: with a context of its own, the other would put back what the first had set."""

    def blas() -> list[int]:
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    with threadpool_limits(2, user_api="blas"):
        filters, threads, first, second = list(warnings.filters), blas(), Barrier(2), Barrier(2)

        def early() -> None:
            with one_blas_thread(), without_notices():
                first.wait()
            second.wait()

        thread = Thread(target=early)
        thread.start()
        with one_blas_thread(), without_notices():
            pass
        first.wait()
        second.wait()
        thread.join()
        assert (list(warnings.filters), blas()) == (filters, threads)


CLUSTER = """
import sys
from distributed import Client, LocalCluster
import bayes_tsl as bt
from tests.inference.test_threads import FEW, PLAN, losses

if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=4, processes=True, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            few = {name: value for name, value in FEW.items() if name not in ("throw", "progress")}
            done = bt.fit_each(losses(*range(4)), PLAN, folder=sys.argv[1], client=client, progress=False, **few)
    assert (done["reason"] == "").all(), done["reason"].unique()
    print("every fit once")
"""


@pytest.mark.slow
def test_a_worker_of_a_cluster_may_have_several_threads(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    root, script = Path(__file__).parents[2], tmp_path / "cluster.py"
    script.write_text(CLUSTER)
    done = subprocess.run(
        [sys.executable, script, tmp_path / "fits"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
        cwd=tmp_path,
        timeout=400,
        check=False,
    )
    assert done.stdout.strip().endswith("every fit once"), done.stderr[-2000:]
    assert len(list((tmp_path / "fits").iterdir())) == 4


def answer(end: Connection) -> None:
    try:
        bt.forecast(example_fit(), steps=[1500.0])
    except bt.DataError as error:
        end.send(str(error))


@pytest.mark.filterwarnings("ignore:.*os.fork.*was called:RuntimeWarning", "ignore:.*use of fork:DeprecationWarning")
@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_fork_of_a_process_with_jax_is_refused() -> None:
    bt.forecast(example_fit(), steps=[1500.0])
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=answer, args=(theirs,))
    child.start()
    said = ours.recv() if ours.poll(60) else "nothing"
    child.kill()
    child.join()
    assert said == (
        "process must be started with spawn; got 'a fork of one where JAX was running'. "
        "Use multiprocessing.get_context('spawn'), or fork before anything is computed."
    )
