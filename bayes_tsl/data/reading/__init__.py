"""How a log becomes a loss table: file -> scalars in long form -> one history -> losses -> what was logged beside them.

A file of any format gives rows ``[run, test_set, position,] metric, step, value`` in the order in which they were logged, by
one of ``lines`` (consoles), ``cells`` (tables), ``documents`` (JSON) and ``events``. What all logs share comes after, each in a
file of its own: ``wide`` (which column is the clock, which names runs), ``history`` (restarts and rewinds), ``choice`` (which
metrics are the loss, in which unit), ``beside`` (learning rate and tokens), ``oddities`` (what is worth saying).
"""
