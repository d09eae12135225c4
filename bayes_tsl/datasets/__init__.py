"""Real runs that come with the package; each folder has a README that says how it was made."""

from __future__ import annotations

from importlib.resources import as_file, files

from bayes_tsl._checks import require_choice
from bayes_tsl.data import LossTable, read_losses

_TABLES = {"small_lm": "position_losses.csv.gz"}


def load(name: str = "small_lm") -> LossTable:
    """Losses of a bundled data set.

    ``small_lm``: two runs of a 1.1M-parameter model, 51 checkpoints, 256 positions, test sets prose, code and ood. Its schedule
    is ``bt.schedules.cosine(peak=2e-3, warmup=100, total=2500, final=2e-4)``.

    Raises:
        DataError: there is no such data set.

    >>> load("small_lm").runs
    ['mix20_cosine', 'mix50_cosine']
    """
    require_choice(name, "data set", _TABLES, cure="These are bundled.")
    with as_file(files("bayes_tsl.datasets") / name / _TABLES[name]) as path:
        return read_losses(path)
