"""One grammar for errors: ``<name> must <rule>; got <value> <where>. <what to do>``."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayes_tsl.errors import DataError

MAX_SEED = 2**63 - 1
_LONGEST, _LONGEST_TEXT = 100, 300  # characters of a value in a message, which may be a message itself


def require(ok: object, name: str, rule: str, got: Any, *, where: str = "", cure: str = "") -> None:
    """Raise ``DataError`` in the house grammar unless ``ok``."""
    if not ok:
        place = f" {where}" if where else ""
        advice = f" {cure}" if cure else ""
        raise DataError(f"{name} must {rule}; got {show(got)}{place}.{advice}")


def show(value: Any) -> str:
    """A value as a user would type it; collections are cut to five."""
    value = _plain(value)
    if isinstance(value, str | bytes):
        return repr(value) if len(value) <= _LONGEST_TEXT else f"{value[:_LONGEST_TEXT]!r}..."
    if isinstance(value, Iterable):
        items = list(value)
        head = ", ".join(show(item) for item in items[:5])
        return f"{head} and {len(items) - 5} more" if len(items) > 5 else head or "none"
    if isinstance(value, float | np.floating):
        return f"{float(value):.10g}"
    text = str(value).partition("\n")[0]
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def percent(chance: float) -> str:
    """A probability that draws tell to a percent, and never as certain."""
    return "over 99%" if chance > 0.995 else "under 1%" if chance < 0.005 else f"{chance:.0%}"


def require_number(value: Any, name: str, *, low: float = -np.inf, high: float = np.inf, cure: str = "") -> None:
    """Raise ``DataError`` unless ``value`` is a number strictly between ``low`` and ``high``."""
    rule = f"be a number above {low:g}" if np.isinf(high) else f"lie between {low:g} and {high:g}"
    value = _plain(value)
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    require(number and low < value < high, name, rule, value, cure=cure)


def whole_number(value: Any, name: str, *, low: int, cure: str = "") -> int:
    """A whole number, ``low`` or more; 4.0 is one.

    Raises:
        DataError: it is none.
    """
    plain = _plain(value)
    number = isinstance(plain, int | float | np.integer | np.floating) and not isinstance(plain, bool)
    whole = number and bool(np.isfinite(plain)) and plain == int(plain) >= low
    require(whole, name, f"be {low} or more, a whole number", plain, cure=cure)
    return int(plain)


def file_path(value: Any, name: str = "path") -> Path:
    """A path, of a text or a path.

    Raises:
        DataError: it is neither.
    """
    require(isinstance(value, str | PathLike), name, "be a path", type(value).__name__, cure="Give e.g. 'fit.nc'.")
    return Path(value)


def floats(values: Any, name: str, *, cure: str = "") -> NDArray[np.float64]:
    """Numbers, or one, as an array; of a generator or a set too.

    Raises:
        DataError: they are no numbers.
    """
    if isinstance(values, Iterable) and not hasattr(values, "__array__"):
        values = values if isinstance(values, str) else list(values)
    try:
        return np.asarray(values, float)
    except (TypeError, ValueError):
        raise DataError(f"{name} must be numbers; got {show(values)}.{f' {cure}' if cure else ''}") from None


def require_seed(value: Any) -> None:
    """Raise ``DataError`` unless ``value`` can start a random generator: those of NumPy and of JAX both take it."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    good = whole and 0 <= value <= MAX_SEED
    require(good, "seed", f"be a whole number from 0 to {MAX_SEED}", value, cure="Any such number will do, e.g. 0.")


def require_type(value: Any, name: str, kind: type, *, cure: str) -> None:
    """Raise ``DataError`` unless ``value`` is a ``kind``."""
    require(isinstance(value, kind), name, f"be a {kind.__name__}", type(value).__name__, cure=cure)


def pandas_frame(value: Any, name: str, columns: Iterable[str]) -> pd.DataFrame:
    """A pandas DataFrame, or what can be made into one (of polars or Arrow), that has none of ``columns`` twice.

    Raises:
        DataError: it is none, or has.
    """
    value = value.to_pandas() if hasattr(value, "to_pandas") else value
    cure = "Make one with pandas.DataFrame(...)."
    require(isinstance(value, pd.DataFrame), name, "be a pandas DataFrame", type(value).__name__, cure=cure)
    require_once(value.columns, name, columns)
    return value


def require_once(given: Iterable[str], name: str, columns: Iterable[str]) -> None:
    """Raise ``DataError`` where one of ``columns`` is given more than once."""
    given = list(given)
    repeated = [column for column in columns if given.count(column) > 1]
    require(not repeated, name, "have each column once", repeated, where="more than once", cure="Rename or remove one.")


def require_choice(value: Any, name: str, choices: Iterable[str], *, cure: str = "") -> None:
    """Raise ``DataError`` unless ``value`` is one of ``choices``, which are listed."""
    choices = list(choices)
    require(value in choices, name, f"be one of {', '.join(map(show, choices))}", value, cure=cure)


def numbers(frame: pd.DataFrame, name: str) -> pd.Series:
    """A column as floats, NaN where a cell is no number; truth values, dates and complex numbers are none."""
    column = pd.Series(frame[name])
    if column.dtype.kind in "bcmM":
        return pd.Series(np.nan, index=column.index)
    if column.dtype == object:
        column = column.map(_plain)
        column = column.mask(
            column.map(lambda cell: isinstance(cell, bool | np.bool_ | complex | np.complexfloating)).astype(bool)
        )
        column = column.map(lambda cell: np.inf if isinstance(cell, int) and cell.bit_length() > 1023 else cell)  # no float
    return pd.Series(pd.to_numeric(column, errors="coerce"), index=column.index, dtype=float)


def _plain(value: Any) -> Any:
    """The number in an array without axes; anything else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value
