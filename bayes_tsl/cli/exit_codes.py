"""What the process of a command ends with.

Done, the pipe to which it prints was closed (as click has it), bad input or no place to write, chains did not converge, a gate
failed, stopped by the user.
"""

DONE, UNREAD, BAD_INPUT, NOT_CONVERGED, GATE, STOPPED = 0, 1, 2, 3, 4, 130
