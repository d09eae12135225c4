"""Names of the axes, in the one order in which they ever appear."""

from __future__ import annotations

CHAIN, DRAW, RUN, TEST_SET, STEP, POSITION = "chain", "draw", "run", "test_set", "step", "position"
DRAWS = (CHAIN, DRAW)
