"""Finished runs that follow a scaling law which is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

SCALING = {"irreducible": 1.8, "of_size": 0.9, "of_data": 0.7, "alpha": 0.35, "beta": 0.3}
CENTRE = (3e8, 1e10)


def scaling_law(parameters: Any, tokens: Any) -> Any:
    """Final loss by a law of Hoffmann et al. (arXiv 2203.15556, equation 10)."""
    of_size = SCALING["of_size"] * (parameters / CENTRE[0]) ** -SCALING["alpha"]
    return SCALING["irreducible"] + of_size + SCALING["of_data"] * (tokens / CENTRE[1]) ** -SCALING["beta"]


def finished_runs() -> pd.DataFrame:
    """Runs of four sizes and four lengths, with noise of .003 nats."""
    parameters, ratio = (each.ravel() for each in np.meshgrid([1e8, 2e8, 4e8, 8e8], [5.0, 20.0, 80.0, 200.0]))
    tokens = ratio * parameters
    noise = 0.003 * np.random.default_rng(1).standard_normal(len(parameters))
    return pd.DataFrame({"parameters": parameters, "tokens": tokens, "loss": scaling_law(parameters, tokens) + noise})
