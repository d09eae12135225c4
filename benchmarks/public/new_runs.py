"""Runs of a size or length never trained: final losses, loss curves, and a Chinchilla-form fit to beat.

    python -m benchmarks.public.new_runs [--quick] [--workers N] [--out FOLDER]

Runs whose learning rate decayed, of the OLMo ladder (four test sets) and of lr_scheduling (SlimPajama). Left out are the
largest size, or the longest runs (above a half, or a quarter, of the most tokens). *tsl* is ``fit_scaling`` of all others,
*chinchilla* the law of Hoffmann et al. (arXiv 2203.15556, section 3.3: Huber loss of log losses) with 100 bootstraps over runs,
each with a residual. *tsl, curves* are loss curves of runs left out, from a fifth of their steps on, by ``forecast_new`` under
priors of other families. --quick: the largest.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import least_squares

import bayes_tsl as bt
from bayes_tsl.evaluation.scoring import crps, score
from bayes_tsl.model.priors import LearnedPriors
from benchmarks.common import RESULTS, judged_rows, keep, options
from benchmarks.public.curves import DATA, by_hash, known, plan, public_runs
from benchmarks.public.learned_priors import learn

Array = NDArray[np.float64]
Columns = dict[str, tuple[str, str]]  # of a summary: what of, and how it is joined

MEANS: Columns = {
    "converged": ("converged", "mean"),
    "error": ("error", "mean"),
    "bias": ("bias", "mean"),
    "crps": ("crps", "mean"),
    "coverage_50": ("covered_50", "mean"),
    "coverage_90": ("covered_90", "mean"),
    "width_90": ("width_90", "mean"),
}

DECAYED = 0.15  # share of the peak at which the learning rate of a finished run ends, at most
CURVES = 4  # runs of a case whose whole curves are forecast
DIVERGED = 5.0  # final loss of a run that is fitted but not forecast  [nats]
BOOTSTRAPS = 100
TEST_SETS = 4  # of the ladder, in the order of a hash of their names
HUBER = 1e-3  # of residuals of log losses
STARTS = [(e, a, b) for e in (0.3, 0.6, 0.8) for a in (0.2, 0.4) for b in (0.2, 0.4)]  # share of E, exponents


@dataclass(frozen=True)
class Case:
    """Finished runs of one family on one test set, and which are left out."""

    family: str
    test_set: str
    left: str
    runs: pd.DataFrame
    out: Array
    curves: dict[str, pd.Series]
    plans: dict[str, bt.Schedule]


def cases() -> Iterator[Case]:
    """Every case."""
    for family, test_set, runs, curves, plans in families():
        size, tokens = (runs[name].to_numpy(float) for name in ("parameters", "tokens"))
        most = tokens.max()
        splits = {"largest": size == size.max(), "above a half": tokens > most / 2, "above a quarter": tokens > most / 4}
        for left, out in splits.items():
            yield Case(family, test_set, left, runs, out, curves, plans)


def families() -> Iterator[tuple[str, str, pd.DataFrame, dict[str, pd.Series], dict[str, bt.Schedule]]]:
    """Family, test set, finished runs (run, parameters, tokens, loss, lr, batch_tokens), their curves and plans."""
    ladder = pd.read_csv(DATA / "olmo_ladder" / "val_losses.csv.gz")
    plans = {str(run): plan(rows.drop_duplicates("step")) for run, rows in ladder.groupby("run")}
    for test_set in by_hash(ladder["test_set"].unique())[:TEST_SETS]:
        rows = ladder[ladder["test_set"] == test_set]
        last = rows.sort_values("step").groupby("run").last().reset_index().rename(columns={"peak": "lr", "lr": "final"})
        runs = last.assign(tokens=last["step"] * last["batch_tokens"])
        curves = {str(run): own.set_index("step")["loss"] for run, own in rows.groupby("run")}
        yield "olmo_ladder", str(test_set), runs, curves, plans
    losses, plans, kinds = public_runs()
    table = pd.read_csv(DATA / "lr_scheduling" / "runs.csv").set_index("run")
    rows = []
    for run in losses.runs:
        curve = losses.select(run=run).mean_losses()
        own, step = plans[run], float(curve.index[-1])
        if kinds[run].startswith("lr_scheduling") and "slimpajama" in table.loc[run, "dataset"]:
            settings = known([run]).iloc[0]
            ends = {"run": run, "step": step, "loss": float(curve.iloc[-1]), "final": float(own.lr([step])[0]), "lr": own.peak}
            rows.append(ends | {name: settings[name] for name in ("parameters", "batch_tokens")})
    runs = pd.DataFrame(rows)
    runs = runs[runs["final"] <= DECAYED * runs["lr"]].assign(tokens=runs["step"] * runs["batch_tokens"]).reset_index(drop=True)
    curves = {run: losses.select(run=run).mean_losses() for run in runs["run"]}
    yield "lr_scheduling", "validation", runs, curves, plans


def judged(case: Case) -> list[dict[str, object]]:
    """Scores of the final losses of the runs left out by either model, and of some of their curves."""
    seen, ahead = case.runs[~case.out], case.runs[case.out & (case.runs["loss"] < DIVERGED)]
    label = {"family": case.family, "test_set": case.test_set, "left_out": case.left, "fitted": len(seen)}
    rows = []
    started = time.perf_counter()
    scaling = scaling_of(seen)
    drawn = scaling.losses(parameters=ahead["parameters"], tokens=ahead["tokens"], lr=ahead["lr"])
    fitted = time.perf_counter()
    by_model = {"tsl": drawn.stack(sample=("chain", "draw")).to_numpy(), "chinchilla": by_chinchilla(seen, ahead)}
    took = {"tsl": fitted - started, "chinchilla": time.perf_counter() - fitted}
    for model, losses in by_model.items():
        for run, observed, draws in zip(ahead["run"], ahead["loss"], losses):
            case_of = {"model": model, "run": run, "seconds": took[model], "converged": scaling.converged}
            rows.append(label | case_of | scores_of(float(observed), draws))
    return rows + [label | {"model": "tsl, curves"} | row for row in curves_of(case, scaling, ahead)]


def scores_of(observed: float, draws: Array) -> dict[str, float]:
    """Scores of draws of one final loss, by the names of ``scoring.score``."""
    made = {"observed": observed, "mean": float(draws.mean()), "crps": float(crps(observed, draws))}
    for prob in (0.5, 0.9):
        low, high = np.quantile(draws, [0.5 - prob / 2.0, 0.5 + prob / 2.0])
        made |= {f"covered_{prob * 100:.0f}": float(low <= observed <= high), f"width_{prob * 100:.0f}": float(high - low)}
    return made


def scaling_of(seen: pd.DataFrame) -> bt.ScalingFit:
    with warnings.catch_warnings(action="ignore"):
        return bt.fit_scaling(
            seen[["run", "parameters", "tokens", "loss", "lr"]], num_draws="auto", progress=False, throw=False
        )


def by_chinchilla(seen: pd.DataFrame, ahead: pd.DataFrame) -> Array:
    """Bootstrapped final losses, each with a residual of its fit (run, draw)."""
    rng, drawn = np.random.default_rng(0), []
    rows, later = (runs[["parameters", "tokens", "loss"]].to_numpy(float).T for runs in (seen, ahead))
    starts = [np.array([np.log(share * rows[2].min()), *np.log([0.5, 0.5]), *each]) for share, *each in STARTS]
    whole = _least_squares(rows, starts)
    for _ in range(BOOTSTRAPS):
        law = _least_squares(rows[:, rng.integers(len(seen), size=len(seen))], [whole])
        residuals = np.log(rows[2] / _law(law, rows))
        drawn.append(_law(law, later) * np.exp(rng.choice(residuals, len(ahead))))
    return np.array(drawn).T


def _law(law: Array, runs: Array) -> Array:
    """Final losses of runs: parameters, tokens, and what else there is (quantity, run)."""
    irreducible, of_size, of_data, alpha, beta = law
    return np.exp(irreducible) + np.exp(of_size) * (runs[0] / 1e8) ** -alpha + np.exp(of_data) * (runs[1] / 1e10) ** -beta


def _least_squares(runs: Array, starts: list[Array]) -> Array:
    def residuals(law: Array) -> Array:
        return np.log(_law(law, runs) / runs[2])

    fits = [least_squares(residuals, start, loss="huber", f_scale=HUBER, max_nfev=400) for start in starts]
    return min(fits, key=lambda fit: fit.cost).x


def curves_of(case: Case, scaling: bt.ScalingFit, ahead: pd.DataFrame) -> Iterator[dict[str, object]]:
    """Scores of whole loss curves, the first fifth of the steps left out."""
    priors = LearnedPriors(levels=learn(pd.read_csv(RESULTS / "learned_priors.csv", comment="#"), without=(case.family,)))
    for row in ahead.sort_values("tokens").iloc[:: max(len(ahead) // CURVES, 1)].to_dict("records"):
        run, whole = row["run"], case.plans[row["run"]]
        curve = case.curves[run]
        later = curve[(curve.index >= max(0.2 * row["step"], 2.0 * whole.warmup)) & (curve.index <= whole.end)]
        started = time.perf_counter()
        with warnings.catch_warnings(action="ignore"):
            forecast = bt.forecast_new(
                scaling,
                parameters=row["parameters"],
                batch_tokens=row["batch_tokens"],
                schedule=whole,
                steps=later.index,
                priors=priors,
            )
        scores = score(forecast, later).mean(numeric_only=True)
        yield {"run": run, "seconds": time.perf_counter() - started, "converged": scaling.converged} | dict(scores)


def means_by(
    rows: pd.DataFrame, names: list[str], *, first: Columns | None = None, last: Columns | None = None
) -> pd.DataFrame:
    """Means of ``scores_of`` by columns of these names, other columns before them and behind."""
    rows = rows.assign(bias=rows["mean"] - rows["observed"])
    rows["error"] = rows["bias"].abs()
    columns: Columns = {"cases": ("error", "size"), **(first or {}), **MEANS, **(last or {})}
    return rows.groupby(names, sort=False, as_index=False).agg(**columns)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over the runs left out, by family, split and model."""
    fitted, seconds = {"fitted": ("fitted", "mean")}, {"seconds": ("seconds", "median")}
    return means_by(rows, ["family", "left_out", "model"], first=fitted, last=seconds)


def main() -> None:
    asked = options(__doc__, "new_runs")
    todo = [case for case in cases() if not asked.quick or case.left == "largest"]
    keep(summary(judged_rows(judged, todo, asked=asked)), asked.table)


if __name__ == "__main__":
    main()
