"""Names of the axes, in the one order in which they ever appear."""

from __future__ import annotations

CHAIN, DRAW, RUN, STEP, POSITION = "chain", "draw", "run", "step", "position"
DRAWS = (CHAIN, DRAW)
