"""What was logged beside the losses: learning rate and tokens, at whatever steps, brought to the steps of the losses."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayes_tsl._common.validation import show
from bayes_tsl.data.formats import names as words
from bayes_tsl.data.loss_table import KEY
from bayes_tsl.data.reading.cells import floats


def with_beside(losses: pd.DataFrame, rows: pd.DataFrame, source: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Losses with columns lr, tokens and loss_se where the log has them, and what is to be said.

    Learning rates and token counts lie on straight lines between the rows that have them; beyond the first and the last they
    are blank.
    """
    names = list(dict.fromkeys(map(str, rows["metric"])))
    rates, tokens = [name for name in names if words.is_lr(name)], [name for name in names if words.is_tokens(name)]
    if rates:
        losses = losses.assign(lr=_at_losses(losses, rows, rates[0]))
    counted = _at_losses(losses, rows, tokens[0]) if tokens else _from_steps(losses, rows)
    if counted is not None and _increasing(losses, counted):
        losses = losses.assign(tokens=counted)
    if "loss_se" in names:
        losses = _joined(losses, _of(rows, "loss_se"), "loss_se")
    return losses, _differing(losses, rows, rates, source)


def logged_rates(rows: pd.DataFrame) -> pd.DataFrame | None:
    """Learning rates at every step that has them: columns run, step, lr; None where there are none."""
    names = [name for name in dict.fromkeys(map(str, rows["metric"])) if words.is_lr(name)]
    return _logged(rows, names[0]).rename(columns={"value": "lr"}) if names else None


def _logged(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Values of a metric by run and step, the last where it was logged again."""
    logged = pd.DataFrame({"run": rows["run"], "step": floats(rows["step"]), "value": floats(rows["value"])})
    finite = np.isfinite(logged["step"].to_numpy(float)) & np.isfinite(logged["value"].to_numpy(float))
    logged = logged.loc[(rows["metric"] == metric).to_numpy() & finite]
    return logged.drop_duplicates(["run", "step"], keep="last").sort_values(by="step", ignore_index=True)


def _of(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    return pd.DataFrame(rows.loc[rows["metric"] == metric])


def _at_losses(losses: pd.DataFrame, rows: pd.DataFrame, metric: str) -> NDArray[np.float64]:
    """Values of a metric at the runs and steps of the losses."""
    found = np.full(len(losses), np.nan)
    logged = _logged(rows, metric)
    runs, steps = losses["run"].to_numpy(), floats(losses["step"])
    for name, of_run in logged.groupby("run"):
        there = runs == name
        known, values = of_run["step"].to_numpy(float), of_run["value"].to_numpy(float)
        found[there] = np.interp(steps[there], known, values, left=np.nan, right=np.nan)
    return found


def _from_steps(losses: pd.DataFrame, rows: pd.DataFrame) -> NDArray[np.float64] | None:
    """Tokens from a constant number of each step, if the log says one."""
    said = np.unique(floats(_of(rows, words.PER_STEP)["value"]))
    return floats(losses["step"]) * said[0] if len(said) == 1 else None


def _increasing(losses: pd.DataFrame, tokens: NDArray[np.float64]) -> bool:
    """Whether token counts rise with the steps, as a total does and a batch does not."""
    counted = pd.DataFrame({"run": losses["run"], "step": floats(losses["step"]), "tokens": tokens}).dropna()
    counted = counted.drop_duplicates(["run", "step"]).sort_values(by=["run", "step"])
    return all((np.diff(of_run["tokens"].to_numpy(float)) > 0).all() for _, of_run in counted.groupby("run"))


def _differing(losses: pd.DataFrame, rows: pd.DataFrame, rates: list[str], source: str) -> tuple[str, ...]:
    """A notice where parameter groups have learning rates of their own."""
    if len(rates) < 2:
        return ()
    first, *others = (_at_losses(losses, rows, rate) for rate in rates)
    if all(np.allclose(first, other, rtol=1e-6, atol=0.0, equal_nan=True) for other in others):
        return ()
    return (f"{source} has several learning rates, {show(rates)}; {rates[0]} is read.",)


def _joined(losses: pd.DataFrame, logged: pd.DataFrame, column: str) -> pd.DataFrame:
    """Losses with a metric of exactly their keys."""
    keys = [name for name in KEY if name in logged and name in losses]
    logged = logged.drop_duplicates(keys, keep="last").rename(columns={"value": column})
    return losses.merge(logged.filter(items=[*keys, column]), on=keys, how="left").set_axis(losses.index)
