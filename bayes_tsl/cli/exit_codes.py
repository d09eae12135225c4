"""What the process of a command ends with: done, bad input, chains that did not converge, stopped by the user."""

DONE, BAD_INPUT, NOT_CONVERGED, STOPPED = 0, 2, 3, 130
