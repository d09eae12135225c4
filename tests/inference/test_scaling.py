"""The scaling law of finished runs: recovery, coverage beyond the runs, and what bad tables are answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
from tests.conftest import SETTLED, refusal
from tests.finished_runs import CENTRE, SCALING, finished_runs, scaling_law


def test_it_converges_and_finds_the_exponents(scaling: bt.ScalingFit) -> None:
    assert scaling.converged, scaling.diagnostics.verdict
    for name in ("alpha", "beta"):
        drawn = scaling.draws[name]
        assert abs(float(drawn.mean()) - SCALING[name]) < 2.5 * float(drawn.std()) < 0.4
    assert not scaling.notices


def test_losses_beyond_the_runs_are_covered_and_less_sure(scaling: bt.ScalingFit) -> None:
    parameters = np.array([2e8, 1.6e9, 1.6e10])
    tokens = 20.0 * parameters
    drawn = scaling.losses(parameters=parameters, tokens=tokens)
    low, high = drawn.quantile([0.025, 0.975], dim=("chain", "draw")).to_numpy()
    assert ((low <= scaling_law(parameters, tokens)) & (scaling_law(parameters, tokens) <= high)).all()
    assert np.all(np.diff(high - low) > 0)
    mean = scaling.losses(parameters=parameters, tokens=tokens, new=False)
    assert float(mean[..., 0].std()) < float(drawn[..., 0].std())


def test_slopes_are_those_of_the_law(scaling: bt.ScalingFit) -> None:
    slope = -SCALING["beta"] * SCALING["of_data"] * (8e9 / CENTRE[1]) ** -SCALING["beta"]
    drawn = scaling.slopes(parameters=4e8, tokens=8e9)
    assert drawn.dims == ("chain", "draw")
    assert abs(float(drawn.mean()) - slope) < 3.0 * float(drawn.std()) < 0.1


def test_the_learning_rate_has_a_best_value() -> None:
    table = finished_runs().assign(lr=np.tile([5e-4, 1e-3, 2e-3, 4e-3], 4))
    table["loss"] += 0.05 * np.log(table["lr"] / 1e-3) ** 2
    made = bt.fit_scaling(table, num_draws=300, throw=False, **SETTLED | {"num_warmup": 300})
    at = [float(made.losses(parameters=4e8, tokens=8e9, lr=lr).mean()) for lr in (1e-4, 1e-3, 1e-2)]
    assert at[1] < at[0] - 0.1
    assert at[1] < at[2] - 0.1


def test_a_run_that_diverged_widens_nothing(scaling: bt.ScalingFit) -> None:
    table = finished_runs()
    diverged = pd.concat([table, table.tail(1).assign(loss=7.5)], ignore_index=True)
    made = bt.fit_scaling(diverged, num_draws=500, throw=False, **SETTLED | {"num_warmup": 300})
    one, other = (fit.losses(parameters=1.6e9, tokens=3.2e10) for fit in (made, scaling))
    assert abs(float(one.mean() - other.mean())) < 0.01
    assert float(one.std()) < 1.5 * float(other.std())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.drop(columns="tokens"),
            "runs must have columns parameters, tokens, loss; got 'parameters', 'loss'. Add tokens.",
        ),
        (lambda t: t.head(3), "runs must hold 4 runs or more; got 3. Add finished runs."),
        (
            lambda t: t.assign(tokens=t["tokens"].where(t.index > 0, -1.0)),
            "tokens must be a positive number for every run; got 'run 0' where it is not. Correct these rows.",
        ),
        (
            lambda t: t.assign(loss=np.exp(t["loss"])),
            "loss must be in nats per token, at most 14; got 'run 0', 'run 1', 'run 2', 'run 3', 'run 4' and 11 more "
            "where it is not. Take the logarithm of a perplexity; divide a sum by its tokens.",
        ),
        (lambda t: t.to_dict(), "runs must be a pandas DataFrame; got 'dict'. Make one with pandas.DataFrame(...)."),
    ],
)
def test_tables_that_cannot_be_fitted_are_refused(change: object, message: str) -> None:
    with refusal(message):
        bt.fit_scaling(change(finished_runs()))  # type: ignore[operator]


def test_a_saved_fit_gives_the_same_losses(scaling: bt.ScalingFit, tmp_path: Path) -> None:
    scaling.save(tmp_path / "scaling.nc")
    again = bt.load_scaling(tmp_path / "scaling.nc")
    assert again.losses(parameters=1e9, tokens=2e10).identical(scaling.losses(parameters=1e9, tokens=2e10))
    assert again.converged
    (tmp_path / "other.nc").write_bytes((tmp_path / "scaling.nc").read_bytes()[:-100])
    with pytest.raises(bt.DataError, match=r"^other\.nc must "):
        bt.load_scaling(tmp_path / "other.nc")
    with refusal(f"scaling law must be a file; got '{tmp_path / 'none.nc'}'. Check the path."):
        bt.load_scaling(tmp_path / "none.nc")


def test_what_cannot_be_asked_is_refused(scaling: bt.ScalingFit) -> None:
    with refusal("parameters, tokens and lr must be positive; got 'tokens' that are not."):
        scaling.losses(parameters=1e9, tokens=-1.0)


def test_what_the_runs_do_not_tell_is_a_notice() -> None:
    made = bt.fit_scaling(finished_runs().assign(parameters=1e8), num_draws=20, throw=False, **SETTLED)
    assert made.notices == ("All runs have 100000000 parameters: their effect is that of the prior.",)
    assert made.beyond(parameters=1e8, tokens=1e13) == (
        "1e+13 tokens lie outside the runs of the scaling law (5e+08 to 1.6e+11).",
    )
