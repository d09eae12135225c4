"""What can go wrong, and what is worth saying although nothing went wrong."""

from __future__ import annotations


class DataError(ValueError):
    """Input that cannot be used; the message names the value, its place and the cure.

    Example::

        try:
            losses = bt.read_losses("losses.csv")
        except bt.DataError as error:
            sys.exit(str(error))
    """


class Notice(UserWarning):
    """Something the user should know about how the data were read or a fit was made.

    Example::

        warnings.simplefilter("ignore", bt.Notice)  # a fit has its notices all the same
    """
