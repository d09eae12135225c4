"""Every forecaster by name: the temporal scaling law at its defaults, and the baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import ArrayLike

from bayes_tsl._common.validation import require_choice
from bayes_tsl.data.loss_table import LossTable
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.forecasting.baselines import BASELINES, Forecaster
from bayes_tsl.forecasting.distribution import Forecast
from bayes_tsl.forecasting.predict import forecast
from bayes_tsl.inference.fitting import fit


def tsl(
    losses: LossTable, *, steps: ArrayLike, schedule: Schedule | str | None = None, seed: int = 0, **known: Any
) -> Forecast:
    """The temporal scaling law with as few draws as pass the checks, and what is ``known`` of the run, as ``fit`` takes it.

    A fit that did not converge is scored all the same and leaves a note.
    """
    settings = {"num_draws": "auto", "progress": False, "throw": False} | known
    return forecast(fit(losses, schedule=schedule, seed=seed, **settings), steps=steps, seed=seed)


FORECASTERS: dict[str, Forecaster] = {"tsl": tsl, **BASELINES}


def by_name(forecasters: Sequence[str] | Mapping[str, Forecaster]) -> Mapping[str, Forecaster]:
    """Forecasters by name; names alone stand for those of ``FORECASTERS``.

    Raises:
        DataError: there is none of a name.

    >>> list(by_name(["tsl", "power-law"]))
    ['tsl', 'power-law']
    """
    if isinstance(forecasters, Mapping):
        return forecasters
    forecasters = [forecasters] if isinstance(forecasters, str) else list(forecasters)
    for name in forecasters:
        require_choice(name, "model", FORECASTERS, cure="Choose among these.")
    return {name: FORECASTERS[name] for name in forecasters}
