"""What the process of a command ends with: done, bad input, chains did not converge, a gate failed, stopped by the user."""

DONE, BAD_INPUT, NOT_CONVERGED, GATE, STOPPED = 0, 2, 3, 4, 130
