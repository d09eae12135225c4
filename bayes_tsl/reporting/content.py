"""What a forecast has to say to people: numbers under their names, and sentences; a tree that JSON can hold.

The summary of a forecast and the report are this tree, or a part of it, written down.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_tsl._common.digits import decimals
from bayes_tsl._common.dims import DRAWS, STEP
from bayes_tsl._common.intervals import interval_over_draws
from bayes_tsl._common.validation import percent, show
from bayes_tsl.decisions.budgets import budget_curve, marginal_gain, smallest_budget
from bayes_tsl.decisions.costs import Cost
from bayes_tsl.decisions.frontier import Frontier
from bayes_tsl.decisions.plans import BestPlan
from bayes_tsl.decisions.stopping import Stopping
from bayes_tsl.forecasting.distribution import Forecast
from bayes_tsl.forecasting.positions import now_and_then
from bayes_tsl.inference.posterior import Fit
from bayes_tsl.reporting.decision import what_to_do
from bayes_tsl.reporting.record import coverage_text

Tree = dict[str, Any]


def summary(
    posterior: Fit, ahead: Forecast, *, prob: float, target: float | None, moved: pd.DataFrame | None, later: pd.Series
) -> Tree:
    """The last step forecast, what it rests on, and what becomes of a target.

    Args:
        posterior: what the past of one run says.
        ahead: its forecast.
        prob: mass of the intervals.
        target: a loss to reach.
        moved: what wider priors do to it, from ``prior_sensitivity``.
        later: measurements after the origin, if there are any (index: step).
    """
    diagnostics, frame = posterior.diagnostics, ahead.to_frame(prob=prob)
    tree = {
        "run": ahead.run,
        "test_set": ahead.test_set,
        "origin": ahead.origin,
        "schedule": posterior.schedule.text,
        "schedule_known": posterior.schedule.known,
        "law": posterior.law,
        "extent": _extent(posterior, ahead),
        "last": frame.drop(columns="run").iloc[-1].to_dict(),
        "converged": posterior.converged,
        "verdict": posterior.verdict,
        "misfits": list(posterior.misfits),
        "recipe": json.loads(posterior.recipe.to_json()),
        "max_r_hat": diagnostics.max_r_hat,
        "min_ess": diagnostics.min_ess,
        "divergences": diagnostics.divergences,
        "notices": list(ahead.notices),
        "seed": posterior.seed,
        "versions": posterior.versions,
    }
    measured = frame.merge(later.rename("observed"), left_on=STEP, right_index=True)
    if len(measured):
        inside = measured["observed"].between(measured["lower"], measured["upper"])
        error = (measured["median"] - measured["observed"]).to_numpy()[-1].item()
        tree["against_observed"] = {"steps": len(measured), "inside": int(inside.sum()), "error_at_last": error}
    if moved is not None:
        tree["wider_priors"] = (
            moved[["shift", "share", "prior_decides", "pareto_k", "trusted"]].astype(object).iloc[-1].to_dict()
        )
    if target is not None:
        tree["target"] = _target(ahead, target, prob)
    return tree


def contents(
    posterior: Fit,
    ahead: Forecast,
    *,
    later: pd.Series,
    target: float | None,
    cost: Cost | None,
    stopping: Stopping | None,
    best: BestPlan | None,
    frontier: Frontier | None,
    moved: pd.DataFrame | None,
    title: str | None,
    comment: str | None,
    prob: float,
) -> Tree:
    """All of a report: the summary, what to do, what is drawn, what it costs and whether to go on, in numbers and sentences."""
    tree = summary(posterior, ahead, prob=prob, target=target, moved=moved, later=later)
    past, future = posterior.coefficients(), ahead.coefficients
    curves = now_and_then(posterior, ahead) if posterior.by_position else ()
    rows = ahead.to_frame(prob=prob).drop(columns="run")
    tree |= {
        "title": title or f"{ahead.run} on {ahead.test_set}",
        "comment": comment,
        "created_at": posterior.created_at,
        "forecast": _records(rows.join(later.rename("observed"), on=STEP)),
        "coefficients": {str(name): {"past": _bands(past[name], prob), "ahead": _bands(future[name], prob)} for name in past},
        "positions": {when: _bands(curve, prob) for when, curve in zip(("origin", "horizon"), curves)},
        "budget": None if cost is None else _budget(ahead, cost, prob=prob, target=target),
        "stopping": None if stopping is None else _stopping(stopping, prob=prob),
        "plans": _plans(stopping, best, prob),
        "frontier": None if frontier is None else _records(frontier.table),
    }
    asked = {"target": target, "cost": cost, "stopping": stopping, "best": best, "frontier": frontier, "prob": prob}
    return tree | {
        "what_to_do": what_to_do(posterior, ahead, **asked),
        "answers": _decisions(tree, ahead, prob=prob, target=target),
        "trust": _trust(tree, posterior, moved),
    }


def _extent(posterior: Fit, ahead: Forecast) -> Tree:
    """What was fitted, and how far the forecast goes beyond it."""
    first, last = float(ahead.history[STEP][0]), float(ahead.steps[-1])
    return {
        "checkpoints": int(posterior.design.count.sum()),
        "first_step": first,
        "last_step": ahead.origin,
        "positions": len(posterior.positions.position),
        "horizon": last,
        "horizon_over_seen": (last - ahead.origin) / (ahead.origin - first),
    }


def _target(ahead: Forecast, target: float, prob: float) -> Tree:
    arrival = ahead.time_to(target, prob=prob)
    return {
        "loss": target,
        "prob_below_at_last": float(ahead.prob_below(target)[-1]),
        "prob_not_reached": 1.0 - arrival.prob_within,
        "median_step_where_reached": arrival.draws.where(np.isfinite(arrival.draws)).median(DRAWS).item(),
        "step": {name: getattr(arrival, name) for name in ("median", "lower", "upper", "prob")},
    }


def _bands(draws: xr.DataArray, prob: float) -> list[Tree]:
    """Median and central interval along the last axis of draws (chain, draw, ...)."""
    (axis,) = (name for name in draws.dims if name not in DRAWS)
    lower, upper = interval_over_draws(draws, prob)
    table = {axis: draws[axis], "median": draws.quantile(0.5, dim=DRAWS), "lower": lower, "upper": upper}
    return _records(pd.DataFrame({name: values.to_numpy() for name, values in table.items()}))


def _budget(ahead: Forecast, cost: Cost, *, prob: float, target: float | None) -> Tree:
    """What money buys: the curve, the smallest budget that is sure enough of a target, and what the next tenth brings."""
    tree: Tree = {"curve": _records(budget_curve(ahead, cost, target=target, prob=prob)), "sentences": []}
    if target is not None:
        enough = smallest_budget(ahead, cost, target=target, prob=prob)
        tree["smallest"] = {name: getattr(enough, name) for name in ("cost", "step", "tokens", "hours", "mean", "cvar", "tail")}
        tree["sentences"].append(
            f"To be {prob:.0%} sure of an expected loss of {show(target)} on the schedule as planned: {enough}."
        )
    if len(ahead.steps) > 1:
        tree["gain"] = _records(marginal_gain(ahead, cost, prob=prob))
        tree["sentences"].append(_gain_text(tree["gain"][0], cost, prob))
    return tree


def _gain_text(first: Tree, cost: Cost, prob: float) -> str:
    bounds = " to ".join(f"{first[name] * first['cost']:.4f}" for name in ("lower", "upper"))
    stretch = f"From step {show(round(first['start']))} to {show(round(first['step']))}, for {cost.text(first['cost'])}"
    return f"{stretch}, the expected loss falls by {first['drop']:.4f} ({bounds}, {prob:.0%} interval)."


def _stopping(chosen: Stopping, *, prob: float) -> Tree:
    """When to stop, in a sentence and as a table."""
    tree = {"recommended": chosen.recommended, "perfect_information": chosen.evpi}
    return (
        tree
        | {"sentence": _sentence(chosen.reason)}
        | {"steps": _records(chosen.to_frame(prob=prob)), "plans": _records(chosen.plans.ends().reset_index())}
    )


def _plans(stopping: Stopping | None, best: BestPlan | None, prob: float) -> list[Tree]:
    """Where the run ends under other plans, and how much lower than under the first; none where none was compared."""
    if stopping is not None:
        columns = ["step", "mean", "lower", "upper", "gain", "gain_lower", "gain_upper"]
        return _records(stopping.plans.ends(prob=prob)[columns].reset_index())
    if best is None:
        return []
    names = list(dict.fromkeys((*best.standard, best.name)))
    columns = ["end", "mean", "lower", "upper", "behind", "behind_lower", "behind_upper"]
    return _records(best.to_frame(prob=prob).loc[names, columns].rename_axis("plan").reset_index())


def _decisions(tree: Tree, ahead: Forecast, *, prob: float, target: float | None) -> list[str]:
    """Where the run will land, what becomes of the target, and what money buys; a sentence each."""
    last = tree["last"]
    digits = decimals(last["lower"], last["upper"])
    median, lower, upper = (f"{last[name]:.{digits}f}" for name in ("median", "lower", "upper"))
    ends = f"median {median} nats per token, {prob:.0%} interval {lower} to {upper}"
    sentences = [f"The test loss at step {show(last[STEP])}: {ends}."]
    if "against_observed" in tree:
        check = tree["against_observed"]
        inside = f"{check['inside']} of {check['steps']} losses measured since lie in their {prob:.0%} intervals"
        sentences.append(f"{inside}; at the last of them the forecast is off by {check['error_at_last']:+.4f}.")
    if target is not None:
        sentences.append(_sentence(target_text(ahead, target, prob=prob)))
    if tree["budget"] is not None:
        sentences += tree["budget"]["sentences"]
    return sentences


def _trust(tree: Tree, posterior: Fit, moved: pd.DataFrame | None) -> dict[str, str]:
    """How far to trust the answers, in plain words: by convergence, extent, calibration and priors."""
    extent = tree["extent"]
    what = f"{extent['positions']} positions each" if extent["positions"] else "their mean losses alone"
    steps = f"{extent['checkpoints']} checkpoints from step {show(extent['first_step'])} to {show(extent['last_step'])}"
    far = f"step {show(extent['horizon'])} lies {extent['horizon_over_seen']:.2g} times as far ahead as they reach back"
    reasons = {
        "convergence": _convergence(tree),
        "extent": f"The fit has seen {steps}, {what}; {far}.",
        "calibration": coverage_text(posterior, horizon=extent["horizon"], law=tree["law"]),
    }
    if moved is None:
        return reasons
    return reasons | {"priors": _sentence(priors_text(moved).removeprefix("priors: ").removesuffix("."))}


def _convergence(tree: Tree) -> str:
    """Whether the chains agreed, for people who have met neither R-hat nor effective sample sizes."""
    if tree["converged"]:
        numbers = f"R-hat at most {tree['max_r_hat']:.3f}, effective sample size at least {tree['min_ess']:.0f}"
        agreed = f"The sampler's chains started apart and agree on every parameter ({numbers})."
        return f"{agreed} But the past contradicts the model: {' '.join(tree['misfits'])}" if tree["misfits"] else agreed
    return f"The sampler's chains do not agree: do not act on this report. {tree['verdict']}"


def priors_text(moved: pd.DataFrame) -> str:
    """What wider priors do to the forecast, in one line."""
    decides = bool(np.any(moved["prior_decides"]))
    step = moved["share"].abs().idxmax() if decides else moved.index[-1]
    shift, share = (float(moved.loc[step, name]) for name in ("shift", "share"))
    effect = f"with priors twice as wide the median at step {show(step)} moves by {shift:+.4f}"
    verdict = f"{'note: the prior decides' if decides else 'priors'}: {effect}, {abs(share):.0%} of the interval's width"
    return f"{verdict}{'' if bool(np.all(moved['trusted'])) else f' ({_doubt(moved)})'}."


def _doubt(moved: pd.DataFrame) -> str:
    """Why what wider priors do is not known well."""
    k = float(moved["pareto_k"].to_numpy(float).max())
    if np.isnan(k):
        return "chains under the wider priors did not quite agree"
    return f"not to be trusted, since Pareto k is {k:.2f}; --refit-wider, in Python refit=True, fits again"


def target_text(ahead: Forecast, target: float, *, prob: float = 0.9) -> str:
    """A target in one line: when the curve gets there, and how likely the last checkpoint reads less."""
    last = float(ahead.steps[-1])
    chance = percent(float(ahead.prob_below(target, at=last)))
    return f"{ahead.time_to(target, prob=prob).reason}; {chance} likely to measure less at step {show(last)}"


def _sentence(line: str) -> str:
    return f"{line[:1].upper()}{line[1:]}."


def _records(table: pd.DataFrame) -> list[Tree]:
    """Rows of a table, in types that JSON has."""
    return [{str(name): value for name, value in row.items()} for row in table.astype(object).to_dict("records")]


def json_text(tree: Tree) -> str:
    """The tree as JSON, with null for numbers that JSON does not have."""
    return json.dumps(_json_ready(tree), indent=2, allow_nan=False) + "\n"


def _json_ready(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _json_ready(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_ready(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
