r"""Overfitting of repeated data: what a run that sees its training data again and again loses on held-out text.

Every epoch beyond the first adds ``overfitting`` nats to the floor. Progress on repeated data also counts for less
(``Schedule.learning``), but that alone has losses level off, and those of published runs of fourteen epochs and more rise above
that (docs/modelling.md, repeated data).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bayes_tsl.model.time_axis import TimeAxis


def overfitting(axis: TimeAxis, sites: Mapping[str, Any]) -> Any:
    """What repeated data add to the floor at every row of a time axis (row), in nats."""
    return sites["overfitting"] * axis.repeats
