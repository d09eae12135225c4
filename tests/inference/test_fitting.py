"""One fit of a simulated run: recovery, coverage, the saved file, and what is said when chains disagree."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import arviz as az
import jax
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayes_tsl as bt
from bayes_tsl.analysis.model_comparison import log_likelihood
from bayes_tsl.data.recipe import make_recipe
from bayes_tsl.inference.diagnostics import diagnose
from bayes_tsl.inference.nuts import STAGES, Settings
from bayes_tsl.inference.run_inputs import recipes_of, repeats
from bayes_tsl.inference.schema import chains_of
from bayes_tsl.model.priors import lognormal, normal
from tests.conftest import ORIGIN, QUICK, SETTLED, STEPS, TRUTH, means, refusal


def test_it_converges(fit: bt.Fit) -> None:
    assert fit.converged, fit.diagnostics.verdict
    table = fit.diagnostics.table
    assert set(TRUTH) <= set(table.index)
    assert f"weight[{STEPS[0]}]" in table.index
    assert fit.diagnostics.max_r_hat == table["r_hat"].max() <= 1.01
    assert fit.diagnostics.min_ess >= 400


def test_parameters_are_recovered(fit: bt.Fit) -> None:
    posterior = fit.data["posterior"].to_dataset()
    scores = {
        name: float((posterior[name].mean() - truth) / posterior[name].std())
        for name, truth in TRUTH.items()
        if name not in ("gap_level", "rate_level")
    }
    assert max(map(abs, scores.values())) < 3.5, scores
    narrow = {"floor_level": 0.02, "floor_slope": 0.2, "gap_slope": 0.1, "rate_slope": 0.2}
    for name, width in narrow.items():
        assert float(posterior[name].std()) < width, f"{name} was hardly learned"


def test_coefficients_cover_the_truth(fit: bt.Fit, simulation: bt.Simulation) -> None:
    drawn = fit.coefficients()
    truth = simulation.coefficients.sel(step=drawn["step"])
    assert drawn["gap"].dims == ("chain", "draw", "step")
    for name in ("gap", "rate", "floor"):
        low, high = drawn[name].quantile([0.05, 0.95], dim=("chain", "draw"))
        inside = float(((truth[name] >= low) & (truth[name] <= high)).mean())
        assert inside >= 0.7, f"{name}: the 90 % interval covers {inside:.0%} of the checkpoints"


def test_forecast_covers_the_future(ahead: bt.Forecast, simulation: bt.Simulation) -> None:
    later = simulation.losses.after(ORIGIN).mean_losses()
    interval = ahead.interval(prob=0.9)
    inside = np.mean((later >= interval["lower"].to_numpy()) & (later <= interval["upper"].to_numpy()))
    width = float((interval["upper"] - interval["lower"])[-1])
    assert inside >= 0.8, f"the 90 % interval covers {inside:.0%} of the later losses"
    assert width < 0.6 * (simulation.losses.mean_losses().loc[ORIGIN] - later.iloc[-1]), f"too wide to be of use: {width}"


def test_positions_are_forecast(ahead: bt.Forecast, simulation: bt.Simulation) -> None:
    assert ahead.positions is not None
    assert ahead.positions.dims == ("chain", "draw", "step", "position")
    truth = simulation.losses.after(ORIGIN).curve()[[0, 10, 63]].to_numpy()
    low, high = ahead.positions.quantile([0.05, 0.95], dim=("chain", "draw")).to_numpy()
    inside = np.mean((truth >= low) & (truth <= high))
    assert inside >= 0.75, f"the 90 % interval covers {inside:.0%} of the losses at positions"


@pytest.mark.filterwarnings("ignore::bayes_tsl.Notice")
def test_the_same_seed_gives_the_same_draws(simulation: bt.Simulation, schedule: bt.Schedule) -> None:
    one, again, other = (bt.fit(means(simulation).until(ORIGIN), schedule=schedule, seed=seed, **QUICK) for seed in (5, 5, 6))
    xr.testing.assert_identical(again.data["posterior"].to_dataset(), one.data["posterior"].to_dataset())
    assert not (other.data["posterior"]["heat"] == one.data["posterior"]["heat"]).any()


def test_as_many_draws_are_made_as_pass_the_checks(simulation: bt.Simulation, schedule: bt.Schedule, mean_fit: bt.Fit) -> None:
    made = bt.fit(means(simulation).until(ORIGIN), schedule=schedule, **SETTLED | {"chains": 4, "num_draws": "auto"})
    draws = made.chains_and_draws[1]
    sampled, stats = chains_of(mean_fit.data)

    def enough(stage: int) -> bool:
        first = slice(0, stage)
        return diagnose({label: x.isel(draw=first) for label, x in sampled.items()}, stats.isel(draw=first)).enough

    assert draws == next(stage for stage in STAGES if enough(stage))
    assert made.diagnostics.enough
    np.testing.assert_array_equal(made.parameters()["heat"], mean_fit.parameters()["heat"][:, :draws])
    with refusal("num_draws must be one of 'auto'; got 'few'. Or give a number; 1000 is usual."):
        bt.fit(means(simulation), schedule=schedule, num_draws="few")  # pyright: ignore[reportArgumentType]


def test_mean_only_agrees_with_positions(mean_fit: bt.Fit, ahead: bt.Forecast) -> None:
    alone = bt.forecast(mean_fit, steps=ahead.steps)
    assert list(mean_fit.coefficients().data_vars) == ["floor"]
    assert list(alone.coefficients.data_vars) == ["floor"]
    gap = np.abs(alone.expected.mean(("chain", "draw")) - ahead.expected.mean(("chain", "draw")))
    assert float((gap / ahead.expected.std(("chain", "draw"))).max()) < 1.0
    with pytest.raises(
        bt.DataError, match=r"^positions must be among those fitted; got 5\. The fit has seen mean losses only\.$"
    ):
        bt.forecast(mean_fit, steps=[9000 - 1000], positions=[5])


def test_a_fit_of_like_length_compiles_nothing(simulation: bt.Simulation, schedule: bt.Schedule) -> None:
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(lambda name, _, **more: compiled.append(name))
    try:
        for origin in (3600.0, 3800.0):  # 17 and 18 checkpoints, padded to the same size
            compiled.clear()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", bt.Notice)
                bt.fit(means(simulation).until(origin), schedule=schedule, **QUICK)
        assert "/jax/core/compile/backend_compile_duration" not in compiled
    finally:
        jax.monitoring.clear_event_listeners()


def test_saved_and_loaded_it_is_equal_and_forecasts_identically(fit: bt.Fit, ahead: bt.Forecast, tmp_path: Path) -> None:
    fit.save(tmp_path / "fit.nc")
    assert [path.name for path in tmp_path.iterdir()] == ["fit.nc"]
    loaded = bt.load_fit(tmp_path / "fit.nc")
    assert loaded == fit
    again = bt.forecast(loaded, steps=ahead.steps, positions=[0, 10, 63])
    xr.testing.assert_identical(again.expected, ahead.expected)
    xr.testing.assert_identical(again.observed, ahead.observed)
    assert again.positions is not None
    xr.testing.assert_identical(again.positions, ahead.positions)
    assert (loaded.schedule.text, loaded.priors, loaded.notices) == (fit.schedule.text, fit.priors, fit.notices)


def test_a_file_of_schema_3_forecasts_what_it_did_when_it_was_written(tmp_path: Path) -> None:
    """Its mean and standard deviation of step 2500 are those that the version which wrote it gave."""
    fit = bt.load_fit(Path(__file__).parent / "fit_schema_3.nc")
    at_end = bt.forecast(fit, steps=[2500.0]).expected
    assert float(at_end.mean()) == pytest.approx(3.964054, abs=2e-5)
    assert float(at_end.std()) == pytest.approx(0.055642, abs=2e-5)
    assert fit.priors.heat_decay == normal(0.15, 0.15)
    assert np.isfinite(log_likelihood(fit)).all()
    fit.save(tmp_path / "fit.nc")
    assert bt.load_fit(tmp_path / "fit.nc") == fit


def test_arviz_reads_the_file(fit: bt.Fit, tmp_path: Path) -> None:
    fit.save(tmp_path / "fit.nc")
    data = az.from_netcdf(tmp_path / "fit.nc")
    assert data["posterior"]["floor"].dims == ("chain", "draw", "step")
    assert float(az.ess(data["posterior"]["heat"].to_numpy())) > 400
    for group in ("posterior", "sample_stats", "observed_data", "constant_data"):
        read = data[group] if isinstance(data[group], xr.Dataset) else data[group].to_dataset()
        xr.testing.assert_equal(read, fit.data[group].to_dataset())


def test_versions_are_stamped(fit: bt.Fit) -> None:
    assert f'"bayes_tsl": "{bt.__version__}"' in fit.data.attrs["versions"]
    assert fit.data.attrs["created_at"].endswith("+00:00")


def test_a_file_that_is_no_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(bt.DataError, match=r"^fit must be a file; got '.*missing\.nc'\. Check the path\.$"):
        bt.load_fit(tmp_path / "missing.nc")
    (tmp_path / "text.nc").write_text("hello")
    with pytest.raises(
        bt.DataError, match=r"^text\.nc must be a NetCDF file; got .*\. Save it again with Fit\.save, or fit again\.$"
    ):
        bt.load_fit(tmp_path / "text.nc")
    xr.Dataset({"x": 1}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    message = "other.nc must hold a 'bayes_tsl fit 5'; got 'another kind of file'. Save it again with Fit.save, or fit again."
    with pytest.raises(bt.DataError, match=f"^{re.escape(message)}$"):
        bt.load_fit(tmp_path / "other.nc")


def test_a_failed_save_leaves_the_old_file(fit: bt.Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fit.nc").write_text("old")
    monkeypatch.setattr(xr.Dataset, "dump_to_store", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match=r"^disk full$"):
        fit.save(tmp_path / "fit.nc")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("fit.nc", "old")]


def test_chains_that_disagree_are_refused(simulation: bt.Simulation, schedule: bt.Schedule) -> None:
    message = (
        r"effective sample size must reach 200; got \d+ for '.+'\. Raise num_draws\. .*"
        r"Or pass throw=False to inspect the fit\.$"
    )
    with pytest.raises(bt.ConvergenceError, match=message) as caught:
        bt.fit(means(simulation).until(ORIGIN), schedule=schedule, **QUICK | {"throw": True})
    assert not caught.value.diagnostics.converged
    assert caught.value.diagnostics.draws == 300


def test_a_poor_fit_is_marked_and_notices_are_said_aloud(simulation: bt.Simulation) -> None:
    priors = bt.Priors(heat=lognormal(0.1, 0.1))
    with pytest.warns(bt.Notice) as caught:
        fit = bt.fit(means(simulation).until(ORIGIN), priors=priors, **QUICK)
    assert fit.priors == priors
    assert not fit.schedule.known
    assert not fit.converged
    assert "NOT CONVERGED" in repr(fit)
    assert "origin=4000, schedule='unknown, treated as constant'" in repr(fit)
    assert not bt.forecast(fit, steps=[5000]).converged
    spoken = [str(warning.message) for warning in caught]
    assert spoken == list(bt.forecast(fit, steps=[5000]).notices)
    assert spoken[0].startswith("The learning-rate schedule is unknown and treated as constant")
    assert any("effective sample size must reach 200" in notice for notice in spoken)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chains": 1}, "chains must be 2 or more, a whole number; got 1. R-hat compares chains; 4 are usual."),
        ({"chains": 2.5}, "chains must be 2 or more, a whole number; got 2.5. R-hat compares chains; 4 are usual."),
        ({"chains": None}, "chains must be 2 or more, a whole number; got None. R-hat compares chains; 4 are usual."),
        ({"num_draws": np.nan}, "num_draws must be 10 or more, a whole number; got nan. 1000 are usual."),
        ({"num_draws": [100]}, "num_draws must be 10 or more, a whole number; got 100. 1000 are usual."),
        ({"num_warmup": np.inf}, "num_warmup must be 10 or more, a whole number; got inf. 500 are usual."),
        *(
            (
                {"priors": priors},
                f"priors must be Priors, a Population or a family; got {type(priors).__name__!r}. "
                "Make them with bt.Priors(heat=...) or bt.priors.family(name).",
            )
            for priors in ({}, {"heat": 1.0}, "lr_scheduling")
        ),
        ({"num_draws": 5}, "num_draws must be 10 or more, a whole number; got 5. 1000 are usual."),
        ({"target_accept": 1.0}, "target_accept must lie between 0 and 1; got 1. 0.98 is usual, 0.99 is safer."),
        *(
            (
                {"seed": seed},
                f"seed must be a whole number from 0 to 9223372036854775807; got {seed}. Any such number will do, e.g. 0.",
            )
            for seed in (-1, 2**63, 0.5, True)
        ),
        (
            {"schedule": 1e-3},
            "schedule must be a Schedule; got 'float'. "
            "Make one with schedules.cosine(...), schedules.parse('cosine:...') or schedules.from_frame(table).",
        ),
    ],
)
def test_wrong_settings_are_refused(arguments: dict[str, object], message: str, simulation: bt.Simulation) -> None:
    with pytest.raises(bt.DataError, match=f"^{re.escape(message)}$"):
        bt.fit(simulation.losses, **arguments)  # type: ignore[arg-type]


def test_whole_numbers_are_taken_as_they_come() -> None:
    given = {"chains": 2.0, "num_warmup": np.array(50), "num_draws": jax.numpy.int32(20), "seed": 0, "progress": False}
    settings = Settings(**given)
    assert [type(value) for value in (settings.chains, settings.num_warmup, settings.num_draws)] == [int] * 3
    assert (settings.chains, settings.num_warmup, settings.num_draws) == (2, 50, 20)


def test_warnings_that_are_errors_lose_no_fit(simulation: bt.Simulation) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", bt.Notice)
        fit = bt.fit(means(simulation).until(4000.0), **QUICK)
    assert fit.notices[0].startswith("The learning-rate schedule is unknown")


def test_a_loss_table_is_asked_for() -> None:
    message = "losses must be a LossTable; got 'dict'. Make one with LossTable.from_frame(frame), or read_losses(path)."
    with pytest.raises(bt.DataError, match=f"^{re.escape(message)}$"):
        bt.fit({"step": [1], "loss": [2.0]})  # type: ignore[arg-type]


@pytest.mark.slow
def test_unreduced_positions_agree(schedule: bt.Schedule) -> None:
    run = bt.simulate(
        steps=STEPS[STEPS <= ORIGIN][::3],
        schedule=schedule,
        origin=ORIGIN,
        positions=range(12),
        parameters=TRUTH,
        position_noise=0.015,
        seed=3,
    )
    settings = {"schedule": schedule, "progress": False, "throw": False, "chains": 2, "num_warmup": 300, "num_draws": 400}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bt.Notice)
        reduced, unreduced = (bt.fit(run.losses, reduce_positions=reduce, **settings) for reduce in (True, False))
    assert {"effect_along", "mean_departure"} <= set(unreduced.diagnostics.table.index.str.replace(r"\[.*", "", regex=True))
    for one, other in (
        (reduced.coefficients()["floor"], unreduced.coefficients()["floor"]),
        (bt.forecast(reduced, steps=[6000, 8000]).expected, bt.forecast(unreduced, steps=[6000, 8000]).expected),
    ):
        scale = one.std(("chain", "draw"))
        apart = np.abs(one.mean(("chain", "draw")) - other.mean(("chain", "draw"))) / scale
        ratio = other.std(("chain", "draw")) / scale
        assert float(apart.max()) < 0.35, f"means differ by {float(apart.max()):.2f} standard deviations"
        assert 0.75 < float(ratio.min()) <= float(ratio.max()) < 1.33, ratio.to_numpy()


ARVIZ_0 = az.__version__.startswith("0.")  # 1.x has other names


@pytest.mark.filterwarnings("ignore")  # ArviZ warns of large Pareto k, and what it calls is deprecated in pandas
def test_arviz_answers_questions_to_a_saved_fit(fit: bt.Fit, tmp_path: Path) -> None:
    """Leave-one-out, power-scaling and a posterior predictive plot, from the file alone."""
    fit.save(tmp_path / "fit.nc")
    data = az.from_netcdf(tmp_path / "fit.nc")
    left_out = az.loo(data, var_name="mean_loss")
    assert np.isfinite(left_out.elpd_loo if ARVIZ_0 else left_out.elpd)
    assert set(az.compare({"a": data, "b": data}, var_name="mean_loss").index) == {"a", "b"}
    for component, variable in (("prior", None), ("likelihood", "joint")):
        asked = {"var_names": ["heat", "floor_level"]}
        if ARVIZ_0:
            sensitivity = az.psens(data, component=component, component_var_names=variable, **asked)
        else:
            sensitivity = az.psense(data, group=component, group_var_names=variable, **asked)
        assert (sensitivity.to_array() >= 0).all()
    mpl.use("agg")
    assert (az.plot_ppc(data, num_pp_samples=20) if ARVIZ_0 else az.plot_ppc_dist(data, num_samples=20)) is not None


RAMP = {0.0: 131_072.0, 2000.0: 131_072.0, 2001.0: 524_288.0, 8000.0: 524_288.0}
CONSTANT = bt.schedules.constant(peak=1e-3, warmup=150, total=8000)


@pytest.fixture(scope="module")
def ramped() -> bt.LossTable:
    """Mean losses of a run whose batch grows fourfold at step 2,000."""
    effective = make_recipe(batch_tokens=RAMP).effective(CONSTANT)
    truth = {name: value for name, value in TRUTH.items() if not name.startswith(("gap", "rate"))} | {"drift_scale": 0.005}
    return bt.simulate(steps=STEPS, schedule=effective, origin=ORIGIN, parameters=truth, seed=2).losses


@pytest.fixture(scope="module")
def known(ramped: bt.LossTable) -> bt.Fit:
    return bt.fit(ramped.until(ORIGIN), schedule=CONSTANT, batch_tokens=RAMP, parameters=1e8, **QUICK)


@pytest.mark.filterwarnings("ignore::bayes_tsl.Notice")
def test_a_batch_ramp_is_followed(ramped: bt.LossTable, known: bt.Fit, tmp_path: Path) -> None:
    """What the ramp explains, drift need not: the interval is narrower for a fit that knows of it."""
    unknown = bt.fit(ramped.until(ORIGIN), schedule=CONSTANT, **QUICK)
    assert known.recipe.is_ramp
    assert known.schedule.text == CONSTANT.text
    interval = {name: bt.forecast(one, steps=[8000]).interval() for name, one in (("known", known), ("unknown", unknown))}
    width = {name: float(one["upper"][0] - one["lower"][0]) for name, one in interval.items()}
    truth = float(ramped.mean_losses().loc[8000.0])
    assert float(interval["known"]["lower"][0]) < truth < float(interval["known"]["upper"][0])
    assert width["known"] < 0.7 * width["unknown"]
    known.save(tmp_path / "fit.nc")
    again = bt.load_fit(tmp_path / "fit.nc")
    assert again.recipe == known.recipe
    assert bt.forecast(again, steps=[8000]).interval().equals(bt.forecast(known, steps=[8000]).interval())


def test_another_schedule_is_forecast_under_the_same_ramp(known: bt.Fit) -> None:
    own, again = (bt.forecast(known, steps=[6000, 8000], schedule=plan) for plan in (None, CONSTANT))
    np.testing.assert_allclose(own.expected, again.expected, atol=1e-3)


def test_much_repetition_is_in_a_notice() -> None:
    recipes = {"run": make_recipe(batch_tokens=524_288, unique_tokens=524_288 * 500)}
    [notice] = repeats({"run": CONSTANT}, recipes)
    assert notice.startswith("The plan repeats its data 16 times: beyond 4 epochs")
    assert repeats({"run": CONSTANT}, {"run": make_recipe(batch_tokens=524_288, unique_tokens=524_288 * 2000)}) == ()


def test_a_ramp_that_ends_early_is_refused(ramped: bt.LossTable) -> None:
    endless = bt.schedules.constant(peak=1e-3, warmup=150)
    with refusal("batch_tokens must cover the steps up to 4000; got 3000. Add rows to the ramp."):
        bt.fit(ramped.until(ORIGIN), schedule=endless, batch_tokens={0: 1e5, 3000: 2e5}, **QUICK)


def test_recipes_of_several_runs_are_columns() -> None:
    losses = bt.LossTable.from_frame(
        pd.DataFrame({"run": ["a", "b"] * 5, "step": np.repeat(np.arange(5.0), 2) + 1, "loss": 3.0})
    )
    table = pd.DataFrame({"run": ["b", "a"], "batch_tokens": [2e5, 1e5], "parameters": [np.nan, 1e8]})
    recipes = recipes_of(losses, {"optimizer": "adamw"}, table)
    assert (recipes["a"].batch_tokens, recipes["a"].parameters, recipes["a"].optimizer) == (1e5, 1e8, "adamw")
    assert (recipes["b"].batch_tokens, recipes["b"].parameters) == (2e5, None)
    with refusal("runs must not repeat an argument; got 'batch_tokens' in both. Give it once."):
        recipes_of(losses, {"batch_tokens": 1e5}, table)
    bad = "batch_tokens must be a number above 0; got -1. Give the tokens of one step, e.g. 524288. (run 'b')"
    with refusal(bad):
        recipes_of(losses, {}, table.assign(batch_tokens=[-1.0, 1e5]))
