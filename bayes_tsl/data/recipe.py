r"""What a run is trained with beside its schedule: tokens a step, parameters, optimizer, unique tokens.

Noise of the gradient heats the loss by about ``(lr / sqrt(batch))^.3`` under Adam (docs/modelling.md), so that a batch that
grows counts as a learning rate that falls: a ramp turns the schedule into ``lr / sqrt(batch / final batch)``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from bayes_tsl._common.validation import numbers, pandas_frame, require, require_choice, require_number
from bayes_tsl.data.loss_table import LossTable
from bayes_tsl.data.schedules import Schedule, reshaped

OPTIMIZERS = ("adamw", "adam", "adafactor", "lion", "muon", "sgd", "shampoo", "soap", "sophia")
ADAM = ("adamw", "adam")  # whose learning rates priors were learned from
COLUMNS = ("step", "batch_tokens")
FIELDS = ("batch_tokens", "parameters", "optimizer", "unique_tokens")
PLAUSIBLE = (256.0, 1e9)  # tokens a step that a column of tokens may show
STEADY = 0.05  # relative departure from one batch that a column of tokens may have by rounding

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Recipe:
    """What is known of a run beside its schedule; None where unknown.

    Attributes:
        batch: tokens a step: (step, tokens) pairs, joined by straight lines; one pair where it is the same throughout.
        parameters: of the model.
        optimizer: one of ``OPTIMIZERS``.
        unique_tokens: in the training data, before any is repeated.
    """

    batch: tuple[tuple[float, float], ...] = ()
    parameters: float | None = None
    optimizer: str | None = None
    unique_tokens: float | None = None

    @property
    def batch_tokens(self) -> float | None:
        """Tokens a step at the end."""
        return self.batch[-1][1] if self.batch else None

    @property
    def is_ramp(self) -> bool:
        """Whether the batch changes."""
        return len({tokens for _, tokens in self.batch}) > 1

    @property
    def uses_adam(self) -> bool:
        """Whether the learning rate may be compared with those of AdamW runs; so where nobody named an optimizer."""
        return self.optimizer is None or self.optimizer in ADAM

    def batch_at(self, step: ArrayLike) -> Array:
        """Tokens of a step (any shape)."""
        return np.interp(np.asarray(step, float), *np.array(self.batch).T)

    def tokens(self, step: float) -> float:
        """Tokens seen up to a step."""
        at = np.array([each for each, _ in self.batch])
        knots = np.unique(np.concatenate([[0.0, step], at[at < step]]))
        return float(np.trapezoid(self.batch_at(knots), knots))

    @property
    def first_epoch(self) -> float:
        """Step at which the training data begin to repeat; infinite where their number is unknown."""
        if self.unique_tokens is None:
            return np.inf
        knots = np.unique([0.0, *(step for step, _ in self.batch)])
        seen = np.array([self.tokens(step) for step in knots])
        left = self.unique_tokens - seen[-1]
        if left >= 0:
            return float(knots[-1] + left / self.batch[-1][1])
        grid = np.linspace(0.0, knots[-1], 4097)
        return float(np.interp(self.unique_tokens, [self.tokens(step) for step in grid], grid))

    def epochs(self, step: float) -> float:
        """How often the training data have been seen by a step; 0 where their number is unknown."""
        return 0.0 if self.unique_tokens is None else self.tokens(step) / self.unique_tokens

    def effective(self, schedule: Schedule) -> Schedule:
        """The schedule that has the same effect at the final batch, ``lr / sqrt(batch / final batch)``, and knows of repeats.

        Raises:
            DataError: the ramp does not cover the steps of the schedule.

        >>> from bayes_tsl.data import schedules
        >>> ramp = Recipe(batch=((0.0, 1e5), (500.0, 1e5), (501.0, 4e5), (1000.0, 4e5)))
        >>> ramp.effective(schedules.constant(peak=1e-3, total=1000)).lr([400, 800]).round(4).tolist()
        [0.002, 0.001]
        """
        schedule = replace(schedule, first_epoch=self.first_epoch)
        if not self.is_ramp:
            return schedule
        at = np.array([step for step, _ in self.batch])
        end = schedule.last_step(at[-1])
        cure = "Add rows: it is joined by straight lines, from step 0 to the last step."
        require(at[0] <= 0.0 and at[-1] >= end, "batch_tokens", f"cover the steps 0 to {end:.10g}", at[[0, -1]], cure=cure)
        return reshaped(schedule, at, lambda step: np.sqrt(self.batch[-1][1] / self.batch_at(step)), "batch ramp")

    def to_json(self) -> str:
        """The recipe as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """The recipe that ``to_json`` wrote."""
        read = json.loads(text)
        return cls(**read | {"batch": tuple((step, tokens) for step, tokens in read["batch"])})


def make_recipe(
    *,
    batch_tokens: float | Mapping[float, float] | pd.DataFrame | None = None,
    parameters: float | None = None,
    optimizer: str | None = None,
    unique_tokens: float | None = None,
    losses: LossTable | None = None,
) -> Recipe:
    """A recipe, checked.

    Args:
        batch_tokens: tokens a step: a number; or a ramp, as a mapping of step to tokens or a table with columns step and
            batch_tokens, joined by straight lines. By default read off the column tokens of ``losses``, if it has one.
        parameters: of the model.
        optimizer: one of ``OPTIMIZERS``.
        unique_tokens: in the training data, before any is repeated; this needs ``batch_tokens``.
        losses: of the run.

    Raises:
        DataError: a number is not positive, a ramp is no ramp, or the optimizer is not known.

    >>> make_recipe(batch_tokens=524_288, parameters=1.2e8, optimizer="adamw").batch_tokens
    524288.0
    """
    for name, value in (("parameters", parameters), ("unique_tokens", unique_tokens)):
        if value is not None:
            require_number(value, name, low=0.0, high=np.inf, cure="Give a count, e.g. 1.2e8.")
    if optimizer is not None:
        require_choice(optimizer, "optimizer", OPTIMIZERS, cure="Leave it out for any other.")
    batch = _from_column(losses) if batch_tokens is None else _batch(batch_tokens)
    cure = "Give the tokens of a step, too."
    require(unique_tokens is None or batch, "unique_tokens", "come with batch_tokens", unique_tokens, cure=cure)
    counts = [None if value is None else float(value) for value in (parameters, unique_tokens)]
    return Recipe(batch, counts[0], optimizer, counts[1])


def _batch(given: Any) -> tuple[tuple[float, float], ...]:
    if isinstance(given, Mapping):
        given = pd.DataFrame({"step": list(given), "batch_tokens": list(given.values())})
    if not hasattr(given, "columns"):
        require_number(given, "batch_tokens", low=0.0, cure="Give the tokens of one step, e.g. 524288.")
        require(np.isfinite(given), "batch_tokens", "be finite", given, cure="Give the tokens of one step.")
        return ((0.0, float(given)),)
    given = pandas_frame(given, "batch_tokens", COLUMNS)
    missing = [name for name in COLUMNS if name not in given]
    require(not missing, "batch_tokens", "have columns step and batch_tokens", list(given), cure=f"Add {', '.join(missing)}.")
    table = pd.DataFrame({name: numbers(given, name) for name in COLUMNS})
    cells = table.to_numpy(float)
    bad = np.asarray(~(np.isfinite(cells).all(axis=1) & (cells[:, 0] >= 0) & (cells[:, 1] > 0)))
    got = [f"{step}, {tokens}" for step, tokens in zip(given["step"][bad], given["batch_tokens"][bad])]
    where = "in step, batch_tokens"
    require(not bad.any(), "batch_tokens", "hold positive numbers", got, where=where, cure="Correct these rows.")
    table = table.sort_values(by="step")
    repeated = table.loc[table["step"].duplicated(), "step"]
    require(repeated.empty, "batch_tokens", "have one row per step", repeated, where="more than once", cure="Keep one of each.")
    require(len(table) > 0, "batch_tokens", "have at least one row", 0, cure="Give step and batch_tokens.")
    return tuple((float(step), float(tokens)) for step, tokens in table.to_numpy(float))


def _from_column(losses: LossTable | None) -> tuple[tuple[float, float], ...]:
    """Tokens a step by the column tokens, where these grow at one rate; a ramp must be given, since its future is not here."""
    if losses is None or "tokens" not in losses.frame:
        return ()
    seen = losses.frame.dropna(subset="tokens").groupby("step")["tokens"].first()
    if len(seen) < 2:
        return ()
    step, tokens = seen.index.to_numpy(float), seen.to_numpy(float)
    rate = np.diff(tokens) / np.diff(step)
    usual = float(np.median(rate))
    steady = np.abs(tokens - tokens[-1] - usual * (step - step[-1])).max() <= STEADY * usual * (step[-1] - step[0])
    return ((0.0, usual),) if steady and PLAUSIBLE[0] <= usual <= PLAUSIBLE[1] else ()
