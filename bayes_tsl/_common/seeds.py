"""Seeds of what is drawn for each of several things, independently."""

from __future__ import annotations

import numpy as np


def seed_of(seed: int, number: int) -> int:
    """The seed of one of several things, by its number.

    >>> seed_of(0, 1) == seed_of(0, 1), seed_of(0, 1) == seed_of(0, 2)
    (True, False)
    """
    return int(np.random.SeedSequence((seed, number)).generate_state(1, np.uint32)[0])
