"""The tables of the README and of docs, and the calibration that reports tell of, copied from benchmarks/results.

    python -m benchmarks.tables

A table stands between the lines ``<!-- table NAME -->`` and ``<!-- end -->``; what was there is replaced. Nothing is measured.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import bayes_tsl as bt
from bayes_tsl.analysis.sensitivity import DECIDES
from bayes_tsl.data.recipe import Recipe
from bayes_tsl.inference.arviz_versions import MAX_PARETO_K
from bayes_tsl.model.learned import learned
from benchmarks.common import RESULTS, ROOT, mean_of_kinds
from benchmarks.public.learned_priors import shown
from benchmarks.public.prefix import SCORES

PAGES = [
    ROOT / "README.md",
    *(ROOT / "docs" / f"{name}.md" for name in ("accuracy", "benchmarks", "index", "model", "modelling", "paper")),
]
HELD_OUT = Path(bt.__file__).parent / "reporting" / "held_out.json"
KIND = "25M to 360M parameters, 7,000 steps and more"
RANGES = {"steps": [6800, 71936], "parameters": [2.5e7, 3.6e8], "peak": [1e-4, 5e-3]}  # of the held-out runs
SCHEDULES = {
    "cosine": ["lr_scheduling cos", "multipowerlaw cosine"],
    "wsd": ["lr_scheduling wsd", "lr_scheduling wsd, decayed", "multipowerlaw wsd"],
    "constant": ["multipowerlaw constant"],
}
RECORDED = {"coverage_90": "coverage_90", "error": "endpoint_mae"}
TABLE = re.compile(r"(?<=<!-- table )([\w-]+) -->\n.*?(?=<!-- end -->)", re.DOTALL)

HEADS = {
    "left_out": "left out",
    "test_set": "test set",
    "prefix": "seen",
    "share": "seen",
    "endpoint_mae": "final-loss error",
    "endpoint_median": "median error",
    "endpoint_bias": "bias",
    "endpoint_brier": "Brier",
    "time_score": "time score",
    "log_score": "log score",
    "coverage_50": "50 % covers",
    "coverage_90": "90 % covers",
    "width_90": "90 % width",
    "widest_90": "widest",
    "median_error": "median error",
    "heat_sd": "sd of log heat",
    "end_crps": "CRPS of the end",
    "prob_lowest": "prob. lowest",
    "was_lowest": "was lowest",
    "end_coverage_90": "of the end",
    "half_written": "half-written",
    "left_over": "left over",
    "width_at_end": "90 % width",
    "power_law_error": "power law",
    "power_law_mae": "power law",
    "mae": "mean abs. error",
    "mae_all": "error, all steps",
    "seconds_per_run": "seconds per run",
    "fits_per_hour": "fits an hour",
    "fits_per_s": "fits a second",
    "by_chance": "by chance",
    "sampling_s": "sampling, s",
    "whitening_s": "whitening, s",
    "compiling_s": "compiling, s",
    "cpu_seconds": "CPU seconds",
    "population_min_ess": "ESS, population",
    "population_max_r_hat": "R-hat, population",
    "peak_gib": "GiB",
    "token_losses": "token losses",
    "million_per_s": "million per s",
    "growth_mib": "MiB of growth",
    "prob_of_chosen": "P(chosen is lowest)",
    "r2": "R2",
    "max_r_hat": "R-hat",
    "min_ess": "ESS",
    "p_corrected": "p, corrected",
    "ahead_by": "ahead by",
    "leapfrogs": "leapfrog steps",
    "annealed": "annealing gain",
    "gap_se": "gap, error",
    "rate_se": "rate, error",
    "r2_effect": "R2 with effects",
    "gap_settled": "P(gap settled)",
    "gap_step": "gap, step",
    "rate_settled": "P(rate settled)",
    "rate_step": "rate, step",
    "annealed_lower": "lower",
    "annealed_upper": "upper",
    "spread_lower": "lower",
    "spread_upper": "upper",
    "regret_now": "regret, lowest now",
    "now": "lowest now",
    "power_law": "by power law",
    "regret_power_law": "regret, power law",
    "log_score_mean": "log score, mean",
    "crps_mean": "CRPS, mean",
    "share_weights": "moved, weights",
    "share_refit": "moved, refit",
    "pareto_k_weights": "Pareto k",
    "trusted_refit": "refit converged",
    "seconds_weights": "seconds, weights",
    "seconds_refit": "seconds, refit",
}
WORST = {"repeated": "data repeated 5 to 44 times"}
_KNOWLEDGE = ["endpoint_mae", "endpoint_bias", "crps", "coverage_50", "coverage_90", "width_90"]
LAWS = {
    "exponent 1": "1",
    "exponent free": "free",
    "power law": "power",
    "exponent 1, index from 1": "1, from 1",
    "exponent 1, 32 bins": "1, 32 bins",
    "exponent 1, without position 0": "1, no 0",
    "exponent free, without position 0": "free, no 0",
    "exponent 1, no effects": "1, no effects",
    "exponent free, no effects": "free, no effects",
}
DIGITS = {
    "share converged": ".2f",
    "fitted": ".0f",
    **dict.fromkeys(("error ratio", "CRPS ratio", "width ratio", "covers without", "covers with"), ".2f"),
    **dict.fromkeys(LAWS.values(), ".3f"),
    **dict.fromkeys(["exponent, free", "exponent, free, no 0"], ".2f"),
    **dict.fromkeys(["level", "saved", "best_kept", "gap_settled", "rate_settled", "exponent"], ".2f"),
    **dict.fromkeys(["gap_step", "rate_step"], ".0f"),
    **dict.fromkeys(["r2_effect", "annealed", "annealed_lower", "annealed_upper"], ".3f"),
    **dict.fromkeys(["spread", "spread_lower", "spread_upper"], ".3f"),
    **{f"{way} {part}": ".2f" for way in ("law", "seen") for part in ("0", "1 to 15", "16 to 63", "64 to 255")},
    **dict.fromkeys(["0", "1 to 15", "16 to 63", "64 to 255", "256 on"], "+.3f"),
    **dict.fromkeys(["gap", "floor", "gap_se", "log_score_mean"], ".3f"),
    **dict.fromkeys(["difference", "lower", "upper"], "+.4f"),
    **dict.fromkeys(["runs", "left", "finished"], ".1f"),
    **dict.fromkeys(["spent", "found best"], ".2f"),
    **dict.fromkeys(["prefix", "share", "seen"], ".0%"),
    **dict.fromkeys(["promised", "refit"], ".0%"),
    **dict.fromkeys(["median", "doubt", "among", "heat_sd"], ".2f"),
    **dict.fromkeys(["share_weights", "share_refit"], "+.2f"),
    **dict.fromkeys(["pareto_k_weights", "correlation", "rank correlation", "good weights", "seconds_weights"], ".2f"),
    **dict.fromkeys(["seconds_refit"], ".0f"),
    **dict.fromkeys(["median difference"], ".3f"),
    **dict.fromkeys(["coverage_50", "coverage_90", "covered", "good", "work", "right", "prob_of_chosen"], ".2f"),
    **dict.fromkeys(["width_90", "widest_90", "width_at_end", "endpoint_brier", "p", "p_corrected", "log_score"], ".3f"),
    **dict.fromkeys(["endpoint_bias", "end", "error", "power_law_error"], "+.4f"),
    **dict.fromkeys(["chi2", "time_score", "GiB", "peak_gib"], ".1f"),
    **dict.fromkeys(["compiling", "fit", "prior", "forecast", "rest", "process"], ".1f"),
    **dict.fromkeys(
        [
            "cases",
            "kills",
            "fits",
            "half_written",
            "lost",
            "doubled",
            "left_over",
            "converged",
            "fits_per_hour",
            "sampling_s",
            "whitening_s",
            "compiling_s",
        ],
        ".0f",
    ),
    **dict.fromkeys(["fits_per_s", "apart", "by_chance"], ".2f"),
    **dict.fromkeys(["token_losses", "million_per_s", "growth_mib"], ",.0f"),
    **dict.fromkeys(
        [
            "warmup",
            "checkpoints",
            "positions",
            "draws",
            "min_ess",
            "population_min_ess",
            "divergences",
            "ess",
            "cells",
            "failed",
        ],
        ".0f",
    ),
    **dict.fromkeys(
        [
            "seconds",
            "seconds_per_run",
            "cpu_seconds",
            "leapfrogs",
            "median_ess",
            "min_ess_per_s",
            "median_ess_per_s",
            "gradient_ms",
        ],
        ".3g",
    ),
}


_FITS = ["family", "run", "test_set", "prefix", "priors"]


def result(name: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / f"{name}.csv", comment="#")


def blind() -> pd.DataFrame:
    return _across(result("blind"), ["runs", "cells"], "prefix", "endpoint_mae")


def prefix() -> pd.DataFrame:
    """The held-out half by model, best on top."""
    table = result("prefix").query("half == 'held out' and runs == 'all'")
    order = ["prefix", "model", "cells", "failed", *SCORES]
    return table.sort_values(["prefix", "crps"])[order]


def prefix_kinds() -> pd.DataFrame:
    """The held-out half by kind of run, the model alone."""
    return result("prefix").query("half == 'held out' and runs != 'all' and model == 'tsl'").drop(columns=["half", "model"])


def unseen() -> pd.DataFrame:
    """The model on every family, beside the final-loss error of a power law."""
    table = result("unseen").drop(columns="failed")
    power_law = table.query("model == 'power-law'").set_index(["runs", "prefix"])["endpoint_mae"].rename("power_law_mae")
    return table.query("model == 'tsl'").drop(columns="model").join(power_law, on=["runs", "prefix"])


def prefix_reported() -> pd.DataFrame:
    """Held-out runs of lr_scheduling and multipowerlaw: the model that knows batch and size, or the family too; baselines."""
    table = result("prefix_reported").query("half == 'held out' and runs == 'all'")
    table = table.query("model in ['tsl', 'tsl, family', 'power-law', 'annealing-law']")
    return table.sort_values(["prefix", "crps"])[["prefix", "model", "cells", *SCORES]]


def unseen_knowledge() -> pd.DataFrame:
    """What is known of a run against scores, over all families and over those whose early phase and data are usual."""
    table = result("unseen_knowledge")
    every = table[table["runs"] == "mean of families"]
    usual = table[~table["runs"].isin(["mean of families", "gpt_positions", "small_lm", "repeated"])]
    usual = mean_of_kinds(usual, _KNOWLEDGE).assign(runs="usual families")
    columns = ["runs", "prefix", "model", "cells", *_KNOWLEDGE]
    return pd.concat([every, usual])[columns].sort_values(["runs", "prefix", "crps"]).rename(columns={"model": "known"})


def new_runs(name: str = "new_runs") -> pd.DataFrame:
    """Runs of a size or length never trained, and their tasks."""
    renamed = {"error": "mean error", "bias": "endpoint_bias", "converged": "share converged"}
    return result(name).rename(columns=renamed).drop(columns="seconds", errors="ignore")


def portfolio(name: str = "portfolio") -> pd.DataFrame:
    """Ways of dividing one budget, over all groups."""
    means = result(name).query("group == 'mean'").drop(columns=["group", "runs"])
    means["budget"] = [f"one end and {share:.0%} of the others" for share in means["budget"]]
    return means.rename(columns={"best": "found best", "promised": "expected regret"})


def worth_of_knowledge() -> pd.DataFrame:
    """What each thing that may be known beside a curve is worth: scores with it over those without it, on the same runs."""
    measured, relatives = result("knowledge"), result("relatives")
    sets = result("test_sets").groupby(["prefix", "model"], as_index=False).mean(numeric_only=True)
    family = result("unseen_knowledge").query("runs == 'mean of families'")
    pooled = result("siblings").query("kind == 'size' and run == 'mean'").rename(columns={"mae": "endpoint_mae"})
    decays = result("branches").assign(prefix="30 to 71%")
    other, own = (relatives[relatives["families"] == families] for families in ("other", "own"))
    small, familiar, keys = "small runs, other families' priors", "small runs, their family's priors", ("seen", "knows")
    pairs = [
        ("batch and size", small, measured, keys, "recipe", "curve"),
        ("gradient noise", small, measured, keys, "noise", "recipe"),
        ("averaged weights", small, measured, keys, "averaged", "recipe"),
        ("averaged weights", familiar, own, keys, "averaged", "recipe"),
        ("one finished cooldown", small, measured, keys, "branch", "recipe"),
        ("one finished cooldown", familiar, own, keys, "branch", "recipe"),
        ("one finished cooldown", "lr_scheduling, other families' priors", decays, ("prefix", "model"), "branch", "curve"),
        ("all measurements", small, measured, keys, "all", "recipe"),
        ("all measurements", familiar, own, keys, "all", "recipe"),
        ("priors of the own family", "small runs", relatives.query("knows == 'recipe'"), ("seen", "families"), "own", "other"),
        ("priors of the own family", "mean of families", family, ("prefix", "model"), "family", "all"),
        ("finished siblings", small, other, keys, "siblings", "recipe"),
        ("finished siblings", familiar, own, keys, "siblings", "recipe"),
        ("finished siblings", "lr_scheduling sizes", pooled, ("share", "way"), "together", "alone"),
        ("other test sets", small, other, keys, "test sets", "recipe"),
        ("other test sets", familiar, own, keys, "test sets", "recipe"),
        ("other test sets", "OLMo-1B, ladder, small_lm", sets, ("prefix", "model"), "together", "apart"),
    ]
    return pd.DataFrame([row for pair in pairs for row in _ratios(*pair)])


def _ratios(
    known: str, runs: str, table: pd.DataFrame, keys: tuple[str, str], given: str, without: str
) -> Iterator[dict[str, object]]:
    share, way = keys
    one, other = (table[table[way] == name].set_index(share) for name in (given, without))
    for seen in one.index:
        ratios = {
            f"{name} ratio": one.at[seen, column] / other.at[seen, column]
            for name, column in (("error", "endpoint_mae"), ("CRPS", "crps"), ("width", "width_90"))
        }
        covers = {f"covers {when}": table.at[seen, "coverage_90"] for when, table in (("without", other), ("with", one))}
        yield {"known": known, "runs": runs, "seen": seen if isinstance(seen, str) else f"{seen:.0%}", **ratios, **covers}


def peers() -> pd.DataFrame:
    """Every model on held-out runs and on families, best on top."""
    table = result("peers").query("runs in ['held out', 'mean of families']")
    order = ["runs", "prefix", "model", "cells", "failed", "endpoint_mae", "endpoint_median", "worst", "crps", "coverage_90"]
    return table[[*order, "width_90"]].sort_values(["runs", "prefix", "crps"])


def short() -> pd.DataFrame:
    return result("short").drop(columns="failed")


def monitored() -> pd.DataFrame:
    """One number a row, three digits of each."""
    return result("monitored").assign(value=lambda table: table["value"].map("{:,.3g}".format))


def faults() -> pd.DataFrame:
    """Runs outside the model; of the longest notice, the first sentence."""
    return result("faults").assign(notice=lambda table: table["notice"].fillna("").str.split(". ", regex=False).str[0])


def sensitivity() -> pd.DataFrame:
    """Shares at the last step, one row per fit."""
    table = result("sensitivity").groupby(_FITS, sort=False, as_index=False).last()
    names = ["share_weights", "share_refit", "pareto_k_weights", "trusted_refit", "seconds_weights", "seconds_refit"]
    return table[["family", "prefix", "priors", *names]].replace({"trusted_refit": {True: "yes", False: "no"}})


def sensitivity_agreement() -> pd.DataFrame:
    """Weights beside refits at the last step: all fits, and those whose refit converged."""
    table = result("sensitivity").groupby(_FITS, sort=False).last()
    parts = {"all": table, "refit converged": table[table["trusted_refit"]]}
    ways = {"power-scaling": "weights", "direct weights": "direct"}
    return pd.DataFrame([_agreement(part, way, which, ways[way]) for which, part in parts.items() for way in ways])


def _agreement(table: pd.DataFrame, way: str, which: str, suffix: str) -> dict[str, object]:
    share, refit, k = (table[name].to_numpy() for name in (f"share_{suffix}", "share_refit", f"pareto_k_{suffix}"))
    same = (abs(share) > DECIDES) == (abs(refit) > DECIDES)
    return {
        "fits": f"{which}, {len(table)}",
        "way": way,
        "same verdict": f"{same.sum()} of {len(same)}",
        "correlation": np.corrcoef(share, refit)[0, 1],
        "rank correlation": table[f"share_{suffix}"].corr(table["share_refit"], method="spearman"),
        "median difference": np.median(abs(share - refit)),
        "good weights": np.mean(k <= MAX_PARETO_K),
    }


def calibration_together() -> pd.DataFrame:
    """Ranks of several runs fitted together: the most extreme of each kind of quantity."""
    table = result("calibration_together")
    name = table["quantity"]
    kinds = [
        name.str.contains("loss at"),
        name.str.contains(":"),
        *(name.str.contains(of) for of in ("mean", "spread", "effect")),
    ]
    labels = [
        "later losses of the young run",
        "parameters of the runs",
        *(f"population {of}s" for of in ("mean", "spread", "effect")),
    ]
    groups = table.groupby(np.select(kinds, labels, ""), sort=False)
    covers = {f"{of} % covers": groups[f"coverage_{of}"].agg(_from_to) for of in (50, 90)}
    smallest = {"smallest p": groups["p"].min(), "p_corrected": groups["p_corrected"].min()}
    return pd.DataFrame({"quantities": groups.size().astype(str), **smallest, **covers}).rename_axis("of").reset_index()


def _from_to(values: pd.Series) -> str:
    return f"{values.min():.2f} to {values.max():.2f}"


def learned_levels() -> pd.DataFrame:
    """The three levels of every parameter."""
    return shown(learned()).rename_axis("parameter").reset_index()


def transfer() -> pd.DataFrame:
    return result("transfer").query("run == 'mean of six'").drop(columns="run")


def transfer_runs() -> pd.DataFrame:
    return _across(result("transfer").query("run != 'mean of six'"), ["size", "run"], "model", "mae")


def record() -> pd.DataFrame:
    """The record of accuracy in short: held-out runs, families never seen, and the family that is worst covered."""
    held = result("prefix_reported").query("half == 'held out' and runs == 'all' and model == 'tsl'")
    families = result("unseen").query("model == 'tsl'")
    worst = families.loc[families["coverage_90"].idxmin(), "runs"]
    parts = {
        f"{held['cells'].iloc[0]} held-out runs": held,
        "families never seen, mean": families.query("runs == 'mean of families'"),
        f"worst of these: {WORST[str(worst)]}": families[families["runs"] == worst],
    }
    rows = []
    for name, part in parts.items():
        one = part.set_index("prefix")
        errors = {f"error, {seen:.0%} seen": one["endpoint_mae"][seen] for seen in one.index}
        rows.append(
            {"runs": name, **errors, **{f"covers, {seen:.0%}": f"{one['coverage_90'][seen]:.0%}" for seen in one.index}}
        )
    return pd.DataFrame(rows)


def worst_covered() -> pd.DataFrame:
    """Kinds of runs whose 90 % intervals cover less than 90 %, the worst first."""
    held = result("prefix_reported").query("half == 'held out' and runs != 'all'")
    every = pd.concat([held, result("unseen").query("runs != 'mean of families'")])
    low = every.query("model == 'tsl' and coverage_90 < 0.9").sort_values("coverage_90")
    return low[["runs", "prefix", "cells", "endpoint_mae", "endpoint_bias", "coverage_90", "width_90"]]


def families() -> pd.DataFrame:
    """Families that no prior was learned from, the worst covered first."""
    table = unseen()
    lowest = table.groupby("runs")["coverage_90"].transform("min")
    table = table.assign(lowest=lowest).sort_values(["lowest", "runs", "prefix"])
    return table[["runs", "prefix", "cells", "endpoint_mae", "power_law_mae", "coverage_90", "width_90"]]


def priors() -> pd.DataFrame:
    """Every parameter of the model: its meaning, and its priors with and without a schedule."""
    meaning = dict(
        re.findall(r"^    (\w+): (.*)$", (inspect.getdoc(bt.Priors) or "").partition("Attributes:")[2], flags=re.MULTILINE)
    )
    plan = bt.schedules.cosine(peak=1e-3, warmup=1000, total=50_000, final=1e-4)
    learned_from = bt.priors.default_priors(plan, origin=25_000, recipe=Recipe(((0.0, 5e5),), parameters=1.2e8)).to_dict()
    rows = [
        {
            "parameter": name,
            "meaning": meaning.get(name, ""),
            "example run": _prior(learned_from[name]),
            "no schedule": _prior(prior),
        }
        for name, prior in bt.Priors().to_dict().items()
    ]
    return pd.DataFrame(rows)


def _prior(prior: Mapping[str, Any]) -> str:
    numbers = "" if prior["family"] == "fixed" else f" ± {prior['sd']:.2g}"
    return f"{prior['family']} {prior['centre']:.2g}{numbers}"


def positions() -> pd.DataFrame:
    table = result("positions").query("model in ['tsl', 'tsl, mean only', 'power-law', 'multi-power-law']")
    return table.drop(columns=["cells", "log_score", "endpoint_bias"])


def choice() -> pd.DataFrame:
    table = result("pooling").query("group == 'mean'")
    return table[["prefix", "way", "right", "regret", "prob_of_chosen", "brier", "mae", "coverage_90"]]


def siblings() -> pd.DataFrame:
    table = result("siblings").query("run == 'mean'")
    return table[["kind", "share", "way", "mae", "mae_all", "crps", "coverage_50", "coverage_90", "width_90"]]


def stopping() -> pd.DataFrame:
    return result("stopping").query("group == 'mean'").drop(columns="group")


def paper_forecast() -> pd.DataFrame:
    return result("paper_forecast").drop(columns=["failed", "endpoint_mae", "log_score", "coverage_50"])


def paper_settling() -> pd.DataFrame:
    names = ["gap_settled", "gap_step", "rate_settled", "rate_step", "annealed", "annealed_lower", "annealed_upper"]
    return result("paper_traits")[["test_set", "run", *names]].replace(np.inf, np.nan)


def paper_speed() -> pd.DataFrame:
    table = result("paper_traits")
    names = [name for name in table if str(name).startswith(("spread", "law ", "seen "))]
    return table[["test_set", "run", *names]].drop(columns=[f"{way} 256 on" for way in ("law", "seen")])


def position_law_across() -> pd.DataFrame:
    """Log scores by law, and the exponent that was free."""
    table = result("position_law_across").replace({"law": LAWS})
    wide = table.pivot(index=["test_set", "size"], columns="law", values="log_score")[list(LAWS.values())]
    free = table[table["law"].isin(["free", "free, no 0"])].pivot(index=["test_set", "size"], columns="law", values="exponent")
    return wide.join(free.rename(columns="exponent, {}".format)).reset_index()


def position_law_errors() -> pd.DataFrame:
    """Errors at positions that were left out, with and without effects."""
    table = result("position_law_across").replace({"law": LAWS})
    shown = table[table["law"].isin(["1", "free", "1, no effects", "free, no effects"])]
    return (
        shown.pivot(index=["test_set", "size"], columns="law", values="rmse").rename(columns="error, {}".format).reset_index()
    )


def paper_weighting() -> pd.DataFrame:
    return result("paper_weighting").drop(columns=["reference", "step"])


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "blind": blind,
    "prefix": prefix,
    "prefix-kinds": prefix_kinds,
    "unseen": unseen,
    "unseen-knowledge": unseen_knowledge,
    "worth-of-knowledge": worth_of_knowledge,
    "new_runs": new_runs,
    "tasks": partial(new_runs, "tasks"),
    "short": short,
    "peers": peers,
    "monitored": monitored,
    "prefix-reported": prefix_reported,
    "record": record,
    "worst-covered": worst_covered,
    "families": families,
    "priors": priors,
    "sensitivity": sensitivity,
    "sensitivity-agreement": sensitivity_agreement,
    "calibration-together": calibration_together,
    "learned": learned_levels,
    "faults": faults,
    "transfer": transfer,
    "transfer-runs": transfer_runs,
    "positions": positions,
    "choice": choice,
    "siblings": siblings,
    "stopping": stopping,
    "portfolio": portfolio,
    "portfolio-others": partial(portfolio, "portfolio_others"),
    "paper-forecast": paper_forecast,
    "paper-settling": paper_settling,
    "paper-speed": paper_speed,
    "paper-weighting": paper_weighting,
    "position-law-across": position_law_across,
    "position-law-errors": position_law_errors,
    **{
        name: partial(result, name)
        for name in ("laws", "decision", "calibration", "speed", "cost", "scale", "collect", "accuracy")
    },
    **{
        name: partial(result, name)
        for name in (
            "phases",
            "fleet",
            "batched",
            "kills",
            "warmup",
            "branches",
            "test_sets",
            "best_plan",
            "excess",
            "knowledge",
            "relatives",
            "worth",
        )
    },
    **{
        name.replace("_", "-"): partial(result, name)
        for name in ("paper_laws", "paper_misfits", "paper_mixture", "position_law_ahead")
    },
}


def _across(table: pd.DataFrame, rows: list[str], columns: str, values: str) -> pd.DataFrame:
    """One column for each value of ``columns``."""
    wide = table.pivot(index=rows, columns=columns, values=values).reset_index().rename_axis(columns=None)
    return wide.rename(columns=lambda name: name if isinstance(name, str) else f"{name:.0%}")


def markdown(table: pd.DataFrame) -> str:
    shown = pd.DataFrame(
        {
            HEADS.get(name, name): [
                value if isinstance(value, str) else "" if pd.isna(value) else format(value, DIGITS.get(name, ".4f"))
                for value in table[name]
            ]
            for name in table
        }
    )
    return shown.to_markdown(index=False, disable_numparse=True, tablefmt="github")


def filled(text: str) -> str:
    """The page with every table as the results have it now."""
    return TABLE.sub(lambda found: f"{found[1]} -->\n\n{markdown(TABLES[found[1]]())}\n\n", text)


def held_out() -> str:
    """The record of reports: the model on the held-out half of the public runs, by share seen and kind of schedule."""
    table = result("prefix_reported").query("half == 'held out' and model == 'tsl'")
    record = {
        "law": "general",
        "kind": KIND,
        "source": "python -m benchmarks.public.prefix --reported",
        "ranges": RANGES,
        "cells": record_cells(table[table["runs"] == "all"]),
        "schedules": {kind: record_cells(table[table["runs"].isin(runs)]) for kind, runs in SCHEDULES.items()},
    }
    return json.dumps(record, indent=2) + "\n"


def record_cells(table: pd.DataFrame) -> list[dict[str, float]]:
    """Coverage and error by share seen, each kind of run weighed by its number of runs."""
    rows = []
    for prefix, part in table.groupby("prefix"):
        weights = part["cells"] / part["cells"].sum()
        means = {name: float((weights * part[column]).sum()) for name, column in RECORDED.items()}
        rows.append(
            {"prefix": prefix, "runs": int(part["cells"].sum())} | {name: round(mean, 5) for name, mean in means.items()}
        )
    return rows


def main() -> None:
    for page in PAGES:
        page.write_text(filled(page.read_text()))
    HELD_OUT.write_text(held_out())
    print(f"wrote {', '.join(page.name for page in [*PAGES, HELD_OUT])}")


if __name__ == "__main__":
    main()
