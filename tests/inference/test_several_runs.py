"""Several runs in one fit: the model is that of one run, runs inform each other, and what they share can be kept."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import jax
import matplotlib as mpl
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from numpyro.infer.util import log_density
from stop_early import eliminate

import bayes_tsl as bt
from bayes_tsl.evaluation.calibration import simulated_population_ranks
from bayes_tsl.model.design import SILENT, make_designs
from bayes_tsl.model.hierarchical import (
    FLOOR_LINE,
    PopulationParameters,
    draw_floor_line,
    floor_line,
    level_centre,
    make_hierarchical_design,
    named_parameters,
)
from bayes_tsl.model.priors import lognormal, normal
from bayes_tsl.model.simulated_population import Plan
from bayes_tsl.model.single_run import model
from tests.conftest import QUICK, SETTLED, STEPS, TRUTH

SHORT = SETTLED | {"num_draws": 300, "target_accept": 0.95}
CUT = {"a": 8000.0, "b": 8000.0, "c/young": 2000.0}
PLAN = bt.schedules.cosine(peak=2e-3, warmup=150, total=8000, final=2e-4)
PLANS = dict.fromkeys(CUT, PLAN)
HEAT = 0.45


def simulated(run: str, seed: int, *, positions: tuple[float, ...] = ()) -> pd.DataFrame:
    truth = {name: value for name, value in TRUTH.items() if positions or not name.startswith(("gap", "rate"))}
    made = bt.simulate(
        steps=STEPS[::2], schedule=PLAN, origin=4000.0, positions=positions, parameters=truth | {"heat": HEAT}, seed=seed
    )
    return made.losses.frame.assign(run=run)


@pytest.fixture(scope="module")
def whole() -> bt.LossTable:
    return bt.LossTable.from_frame(pd.concat([simulated(run, seed) for seed, run in enumerate(CUT)]))


@pytest.fixture(scope="module")
def losses(whole: bt.LossTable) -> bt.LossTable:
    return bt.LossTable.from_frame(whole.frame[whole.frame["step"] <= whole.frame["run"].map(CUT)])


@pytest.fixture(scope="module")
def fit(losses: bt.LossTable) -> bt.Fit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bt.Notice)
        return bt.fit(losses, schedules=PLANS, throw=False, **SHORT)


@pytest.fixture(scope="module")
def ahead(fit: bt.Fit) -> bt.Forecast:
    return bt.forecast(fit, steps=[8000.0])


@pytest.mark.parametrize("positions", [(), tuple(range(16))])
def test_density_of_a_run_is_that_of_the_model_of_one_run(positions: tuple[float, ...]) -> None:
    """With any level and slope of the floor: the single-run model's, less the density of these two given all else."""
    table = bt.LossTable.from_frame(pd.concat([simulated(run, seed, positions=positions) for seed, run in enumerate("ab")]))
    designs, _ = make_designs(table, dict.fromkeys("ab", PLAN))
    family = make_hierarchical_design(designs, [bt.Priors()] * 2, np.zeros((2, 0)))
    size = len(family.prior_sd)
    common = PopulationParameters(np.zeros(size), np.ones(size), np.zeros((0, size)))
    rng = np.random.default_rng(1)
    density = jax.jit(lambda design, values: log_density(model, (design, bt.Priors()), {}, values)[0])
    with jax.enable_x64(True):
        for _ in range(3):
            weight = np.ones(family.design.step.shape)
            own = {"trait": 0.1 * rng.normal(size=(2, size - 1)), "weight": weight}
            own |= {
                name: level_centre(family, name) + 0.01 * rng.normal(size=2) for name in family.levels if name not in FLOOR_LINE
            }
            line_given_rest = jax.jit(floor_line)(family, common, own)
            standard = rng.normal(size=(2, 2))
            line = np.asarray(draw_floor_line(line_given_rest, standard))
            sites = named_parameters(family, common, own, line)
            for run, design in enumerate(designs):
                values = {name: value[run] for name, value in sites.items()} | {"weight": np.ones(len(design.step))}
                apart = float(density(design, values))
                apart -= sum(
                    float(bt.Priors().distribution(name, design.centre).log_prob(values[name])) for name in family.parameters
                )
                apart -= float(dist.Gamma(2.0, 2.0).log_prob(values["weight"]).sum())
                silent = float(dist.Normal(0.0, SILENT**0.5).log_prob(0.0)) * (len(weight[run]) - len(design.step))
                silent *= 3 if positions else 1
                given = dist.MultivariateNormal(
                    line_given_rest.mean[run], precision_matrix=line_given_rest.precision[run]
                ).log_prob(line[run])
                prior = dist.Normal(0.0, 1.0).log_prob(line[run]).sum()
                assert np.isclose(line_given_rest.log_density[run], apart + silent + float(prior - given), rtol=1e-6)


def test_chains_agree_over_all_runs(fit: bt.Fit) -> None:
    table = fit.diagnostics.table
    assert {"trait_mean[heat]", "trait_spread[heat]", "a: heat", "c/young: floor_level"} <= set(table.index)
    assert fit.diagnostics.max_r_hat < 1.05, fit.diagnostics.verdict
    assert fit.runs == ["a", "b", "c/young"]
    assert fit.select(run="c/young").origin == 2000.0


@pytest.mark.slow
def test_a_young_run_borrows_from_finished_ones(
    fit: bt.Fit, losses: bt.LossTable, whole: bt.LossTable, ahead: bt.Forecast
) -> None:
    """Its heat is far above the prior's, which it has not seen yet and its siblings have."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bt.Notice)
        alone = bt.fit(losses.select(run="c/young"), schedule=PLAN, throw=False, **SHORT)
    by_itself, truth = bt.forecast(alone, steps=[8000.0]), whole.select(run="c/young").mean_losses().iloc[-1]
    informed = ahead.select(run="c/young")

    def crps(forecast: bt.Forecast) -> float:
        return float(bt.scoring.crps(truth, forecast.observed.to_numpy().ravel()))

    heat = fit.select(run="c/young").data["posterior"]["heat"]
    assert abs(float(heat.median()) - HEAT) < abs(float(alone.data["posterior"]["heat"].median()) - HEAT)
    assert crps(informed) < crps(by_itself), (crps(informed), crps(by_itself))


def test_a_finished_run_is_forecast_where_it_stands(ahead: bt.Forecast, whole: bt.LossTable) -> None:
    for run in ("a", "b"):
        end = whole.select(run=run).mean_losses().iloc[-1]
        interval = ahead.select(run=run).interval(prob=0.99)
        assert float(interval["lower"][0]) < end < float(interval["upper"][0])


def test_forecasts_stand_side_by_side(fit: bt.Fit, ahead: bt.Forecast) -> None:
    assert ahead.expected.dims == ("chain", "draw", "run", "step")
    assert list(ahead.to_frame()["run"]) == fit.runs
    assert ahead.select(run="a").origin == 8000.0
    assert ahead.select(run="c/young").history["step"][-1] == 2000.0
    one = bt.forecast(fit.select(run="c/young"), steps=[8000.0])
    assert abs(float(one.expected.mean() - ahead.select(run="c/young").expected.mean())) < 0.01


@pytest.mark.slow
def test_a_fit_that_believes_in_little_drift_ranks_the_true_one_above_all_draws() -> None:
    """Ranks of simulation-based calibration are those of the population, of each run, and of losses after its origin."""
    plans = {run: Plan(PLAN, STEPS[::2], origin) for run, origin in CUT.items()}
    priors = bt.Priors(floor_slope=normal(-0.15, 0.05), drift_scale=lognormal(0.1, 0.1))
    broken = replace(priors, drift_scale=lognormal(0.002, 0.1))
    settings = {"chains": 2, "num_warmup": SETTLED["num_warmup"], "num_draws": 50}
    ranks = simulated_population_ranks([0], plans=plans, priors=priors, fitted_priors=broken, **settings)
    rank = ranks.set_index("quantity")["rank"]
    shared = {f"trait_{one}[heat]" for one in ("mean", "spread")}
    later = {f"c/young: loss at {at:g}" for at in STEPS[::2] if at > CUT["c/young"]}
    assert shared | later | {f"{run}: heat" for run in CUT} <= set(rank.index)
    assert len([name for name in rank.index if "loss at" in name]) == len(later)
    assert rank.between(0.0, 1.0, inclusive="neither").all()
    assert (rank[[f"{run}: drift_scale" for run in CUT]] > 0.95).all()


@pytest.mark.slow
def test_what_happens_to_runs_after_their_origin_is_their_own(losses: bt.LossTable) -> None:
    """Two runs of one history would else have one future, and no difference to be unsure of."""
    young = losses.select(run="c/young").frame
    twins = bt.LossTable.from_frame(pd.concat([young.assign(run="one"), young.assign(run="two")]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bt.Notice)
        fit = bt.fit(twins, schedules=dict.fromkeys(("one", "two"), PLAN), **QUICK)
    apart = bt.compare_runs(bt.forecast(fit, steps=[8000.0])).difference("one", "two")
    assert float(apart.std()) > 0.005


def test_comparison(ahead: bt.Forecast) -> None:
    comparison = bt.compare_runs(ahead, at=8000.0)
    chance, below, regret = comparison.prob_lowest(), comparison.prob_below(), comparison.regret()
    assert np.isclose(chance.sum(), 1.0)
    assert np.allclose((below + below.T).to_numpy()[~np.eye(3, dtype=bool)], 1.0)
    assert (regret >= 0).all()
    draws = comparison.difference("a", "b")
    assert np.isclose(below.loc["a", "b"], float((draws < 0).mean()))
    frame = comparison.to_frame()
    assert list(frame.columns[:2]) == ["run", "step"]
    assert frame["prob_lowest"].is_monotonic_decreasing
    assert frame.loc[0, "gap"] == 0.0


def test_plot_of_a_comparison(ahead: bt.Forecast) -> None:
    mpl.use("agg")
    losses, chances = bt.plot_comparison(bt.compare_runs(ahead))
    assert [label.get_text() for label in losses.get_yticklabels()] == list(bt.compare_runs(ahead).to_frame()["run"])
    assert len(chances.patches) == 3


def test_a_saved_fit_forecasts_the_same(fit: bt.Fit, ahead: bt.Forecast, tmp_path: Path) -> None:
    fit.save(tmp_path / "fit.nc")
    again = bt.load_fit(tmp_path / "fit.nc")
    assert again == fit
    assert bt.forecast(again, steps=[8000.0]).expected.identical(ahead.expected)


def test_a_run_that_others_have_informed_says_so(fit: bt.Fit, tmp_path: Path) -> None:
    """It has no priors of its own that could be power-scaled."""
    fit.select(run="a").save(tmp_path / "a.nc")
    saved = bt.load_fit(tmp_path / "a.nc")
    for one, runs in ((fit, "'a', 'b', 'c/young'"), (fit.select(run="a"), "'a'"), (saved, "'a'")):
        assert one.pooled
        with pytest.raises(
            bt.DataError, match=rf"^fit must be of a run fitted by itself; got {runs} that others have informed\."
        ):
            bt.prior_sensitivity(one, steps=[8000.0])


def test_a_population_is_kept_and_used(fit: bt.Fit, losses: bt.LossTable, tmp_path: Path) -> None:
    population = fit.population()
    population.save(tmp_path / "population.json")
    again = bt.load_population(tmp_path / "population.json")
    assert again == population
    assert again.source["runs"] == fit.runs
    priors = again.priors(PLAN, origin=2000.0)
    default = bt.priors.default_priors(PLAN, origin=2000.0)
    assert priors.heat.centre > default.heat.centre
    assert priors.floor_slope.sd < default.floor_slope.sd
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bt.Notice)
        next_run = bt.fit(losses.select(run="c/young"), schedule=PLAN, priors=again, throw=False, **SHORT)
    assert next_run.priors == priors


def test_slopes_of_a_population_are_carried_to_the_origin(fit: bt.Fit) -> None:
    """Those of a finished run lie where its own fit has them."""
    prior = fit.population().priors(PLAN, origin=8000.0).floor_slope
    slope = float(fit.select(run="a").data["posterior"]["floor_slope"].mean())
    assert abs(prior.centre - slope) < 3.0 * prior.sd


def test_a_population_of_mean_losses_says_nothing_of_gap_and_rate(fit: bt.Fit) -> None:
    own, default = fit.population().priors(PLAN, origin=2000.0), bt.priors.default_priors(PLAN, origin=2000.0)
    assert (own.gap_slope, own.rate_slope) == (default.gap_slope, default.rate_slope)


@pytest.mark.slow
def test_a_covariate_moves_the_population(losses: bt.LossTable) -> None:
    table = pd.DataFrame({"run": list(CUT), "log_parameters": [17.0, 18.0, 19.0]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bt.Notice)
        fit = bt.fit(losses, schedules=PLANS, runs=table, covariates=["log_parameters"], **QUICK)
    population = fit.population()
    assert population.covariates["log_parameters"][0] == 18.0
    small, large = (population.priors(PLAN, origin=8000.0, covariates={"log_parameters": x}) for x in (17.0, 19.0))
    effect = population.traits["heat"].effects["log_parameters"]
    assert np.isclose(np.log(large.heat.centre / small.heat.centre), effect * 2.0 / population.covariates["log_parameters"][1])
    with pytest.raises(
        bt.DataError, match=r"^covariates must have a value for each of the population's; got 'log_parameters' w"
    ):
        population.priors(PLAN, origin=8000.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schedules": {"a": PLAN}}, r"schedules must name every run; got 'b', 'c/young' without one\. Use schedules\.unknown"),
        (
            {"schedules": None},
            r"losses must hold a single run; got 'a', 'b', 'c/young'\. Choose one with losses\.select\(run=\.\.\.",
        ),
        ({"schedule": PLAN}, r"one of schedule and schedules must be given; got 'both'\. Name every run in schedules\.$"),
        (
            {"covariates": ["x"]},
            r"covariates must be columns of runs; got 'x' without runs\. Pass runs=, a table with a column run",
        ),
        (
            {"covariates": ["x"], "runs": pd.DataFrame({"run": list(CUT)})},
            r"runs must have the columns run, x; got 'run'\. Add 'x'\.$",
        ),
        (
            {"covariates": ["x"], "runs": pd.DataFrame({"run": ["a", "a", "b"], "x": [1, 2, 3]})},
            r"runs must have one row for every run; got 'a', 'c/young' without one, or with several\. Mend the table\.$",
        ),
        (
            {"covariates": ["x"], "runs": pd.DataFrame({"run": list(CUT), "x": [1.0, 1.0, 1.0]})},
            r"covariate 'x' must differ between runs; got 1\. Leave it out; it cannot tell the runs apart\.$",
        ),
        (
            {"covariates": ["x"], "runs": pd.DataFrame({"run": list(CUT), "x": [1.0, "?", 2.0]})},
            r"covariate 'x' must be a finite number; got 'b' without one\. Fill it in\.$",
        ),
        (
            {"law": "paper"},
            r"law must be general or free-exponent; got 'paper' for several runs\. Fit one run with losses\.select",
        ),
        ({"reduce_positions": False}, r"reduce_positions must be True; got False for several runs\. Fit one run with"),
    ],
)
def test_what_cannot_be_fitted_together(losses: bt.LossTable, change: dict, message: str) -> None:
    with pytest.raises(bt.DataError, match="^" + message):
        bt.fit(losses, **{"schedules": PLANS} | change)


def test_one_run_has_no_covariates(losses: bt.LossTable) -> None:
    table = pd.DataFrame({"run": ["a"], "x": [1.0]})
    with pytest.raises(
        bt.DataError, match=r"^covariates must describe several runs; got 'a' alone\. Leave the covariates out; one"
    ):
        bt.fit(losses.select(run="a"), schedule=PLAN, runs=table, covariates=["x"])


def test_a_run_with_too_few_checkpoints_is_named(losses: bt.LossTable) -> None:
    frame = losses.frame
    few = bt.LossTable.from_frame(frame[(frame["run"] != "a") | (frame["step"] <= 1200)])
    with pytest.raises(bt.DataError, match=r"^losses must hold 4 usable checkpoints; got 3 of 3 checkpoints\..*\(run 'a'\)$"):
        bt.fit(few, schedules=PLANS)


def test_positions_of_all_or_none(whole: bt.LossTable) -> None:
    mixed = bt.LossTable.from_frame(pd.concat([whole.select(run="a").frame, simulated("b", 1, positions=tuple(range(16)))]))
    with pytest.raises(
        bt.DataError, match=r"^positions must be given for all runs or none; got 'a' without\. Give the positions of all"
    ):
        bt.fit(mixed, schedules=PLANS)


def test_one_run_is_chosen_where_one_is_needed(fit: bt.Fit, ahead: bt.Forecast) -> None:
    with pytest.raises(
        bt.DataError, match=r"^fit must be of a single run; got 'a', 'b', 'c/young'\. Choose one with fit\.select\(run"
    ):
        fit.coefficients()
    with pytest.raises(
        bt.DataError, match=r"^forecast must be of a single run; got 'a', 'b', 'c/young'\. Choose one with forecast"
    ):
        bt.plot_forecast(ahead)
    with pytest.raises(
        bt.DataError, match=r"^forecast must be of several runs; got 'a'\. Fit several with fit\(losses, schedules="
    ):
        bt.compare_runs(ahead.select(run="a"))
    with pytest.raises(bt.DataError, match=r"^fit must be of several runs; got 'a'\. Fit several with fit\(losses, schedules="):
        fit.select(run="a").population()
    with pytest.raises(bt.DataError, match=r"^at must be a step of the forecast \(8000\); got 7000\. Forecast that step\.$"):
        bt.compare_runs(ahead, at=7000)
    with pytest.raises(
        bt.DataError, match=r"^steps must not lie before the origin 8000 of run 'a'; got 6000\. Forecast it alone, with"
    ):
        bt.forecast(fit, steps=[6000.0])
    with pytest.raises(bt.DataError, match=r"^schedule must be left out for several runs; got 'one'\. Choose a run with"):
        bt.forecast(fit, steps=[8000.0], schedule=PLAN)


def test_a_population_is_for_one_run(fit: bt.Fit, losses: bt.LossTable) -> None:
    with pytest.raises(
        bt.DataError, match=r"^priors must be a Population for a single run only; got 'several runs'\. Fit each run by"
    ):
        bt.fit(losses, schedules=PLANS, priors=fit.population())


@pytest.mark.parametrize("text", ["[]", "{}", "no json", json.dumps({"schema": "bayes_tsl population 1", "traits": {}})])
def test_what_is_no_population(text: str, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(bt.DataError, match=r"^p\.json must hold a.* Save it again with Population\.save\.$"):
        bt.load_population(tmp_path / "p.json")
    with pytest.raises(bt.DataError, match=r"^population must be a file; got '.*none\.json'\. Check the path\.$"):
        bt.load_population(tmp_path / "none.json")


@pytest.mark.slow
def test_a_run_that_will_hardly_win_is_stopped() -> None:
    steps = np.arange(400.0, 8001.0, 400.0)
    curves = {run: level + 2.0 * (steps / 400.0) ** -0.5 for run, level in (("worse", 3.6), ("better", 3.0))}
    frame = pd.concat(pd.DataFrame({"run": run, "step": steps, "loss": losses}) for run, losses in curves.items())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bt.Notice)
        plans = dict.fromkeys(curves, PLAN)
        stopped = eliminate(bt.LossTable.from_frame(frame), plans, end=8000.0, rungs=(0.5, 0.7), throw=False, **SHORT)
    assert stopped.to_dict() == {"better": 8000.0, "worse": 4000.0}


@pytest.mark.slow
def test_own_priors_are_the_base_of_a_population(losses: bt.LossTable) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bt.Notice)
        fit = bt.fit(losses, schedules=PLANS, priors=bt.Priors(heat_decay=normal(0.3, 0.05)), **QUICK)
    assert abs(fit.population().priors(PLAN, origin=8000.0).heat_decay.centre - 0.3) < 0.15
