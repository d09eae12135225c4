"""Names of the axes, in the one order in which they ever appear."""

from __future__ import annotations

CHAIN, DRAW, STEP, POSITION = "chain", "draw", "step", "position"
DRAWS = (CHAIN, DRAW)
