"""Losses as they were measured: a checked, sorted table in long form.

One row is the mean test loss of one checkpoint at one token position of one test set; where ``position`` is blank, over all
positions. Whatever is wrong with a log is found here, once, and nothing below looks again.
"""

from __future__ import annotations

import csv
import gzip
import re
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayes_tsl._common.display import Facts, counted, extent, shown, warned
from bayes_tsl._common.validation import (
    file_path,
    numbers,
    pandas_frame,
    require,
    require_choice,
    require_number,
    require_once,
    require_type,
    show,
)
from bayes_tsl.data.ancestry import ANCESTRY, ancestry
from bayes_tsl.errors import DataError, Notice

LOSSES = "losses"  # what errors call a table that has no name of its own
COLUMNS = ("run", "test_set", "step", "position", "loss", "tokens", "lr", "loss_se")
KEY = ["run", "test_set", "step", "position"]
BESIDE = ("averaged", "gradient_noise")  # what may be measured of a checkpoint beside its loss
NAMES = ["run", "test_set"]
ENDINGS = (".csv", ".csv.gz", ".parquet")
Rows = NDArray[np.bool_]


@shown
@dataclass(frozen=True, eq=False)
class LossTable:
    """Test losses in long form, checked and sorted; make one with ``from_frame`` or ``read_losses``.

    Attributes:
        frame: columns of ``COLUMNS`` in that order; loss in nats per token, ``position`` NaN for a mean over positions.
        notices: what was changed on the way in, in words.
        rates: learning rates at every step that a log has them for, columns run, step, lr; those of the losses by default.
        branches: runs that left another one of the table: parent, and the last step that the two share, by name.
        averaged: losses of averaged weights beside those of ``frame``, a table for each number of steps averaged over.
        gradient_noise: noise of the gradient, columns run, step, gradient_noise; None where there is none.

    >>> import pandas as pd
    >>> losses = LossTable.from_frame(pd.DataFrame({"step": [100, 200, 300], "loss": [5.0, 4.5, 4.3]}))
    >>> len(losses), losses.until(200).steps.tolist()
    (3, [100.0, 200.0])
    """

    frame: pd.DataFrame = field(repr=False)
    notices: tuple[str, ...] = ()
    rates: pd.DataFrame | None = field(default=None, repr=False)
    branches: Mapping[str, tuple[str, float]] = field(default_factory=dict, repr=False)
    averaged: Mapping[float, LossTable] = field(default_factory=dict, repr=False)
    gradient_noise: pd.DataFrame | None = field(default=None, repr=False)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, *, source: str = LOSSES, keep: Literal["last"] | None = None) -> LossTable:
        """Check and sort a table with columns step, loss [, run, position, test_set, tokens, lr, loss_se].

        Args:
            frame: long format, any row order; other columns are left out. Without ``run`` and ``test_set`` there is one.
                Columns ``parent`` and ``branch_step`` say which runs are branches of another. Rows whose column ``averaged`` is
                above zero are losses of weights averaged over so many steps; ``gradient_noise`` is that of the checkpoint
                (``collect.gradient_noise``).
            source: what errors call the table, e.g. a file name.
            keep: "last" keeps the last row of a checkpoint that was measured again, as after a resume, with a notice that
                counts the others. By default rows that differ are refused, and equal ones merged.

        Raises:
            DataError: naming the row and what to do about it.

        >>> LossTable.from_frame(pd.DataFrame({"step": [100, 200], "loss": [5.1, 4.7]})).runs
        ['run']
        """
        frame = pandas_frame(frame, source, (*COLUMNS, *ANCESTRY, *BESIDE))
        missing = [name for name in ("step", "loss") if name not in frame.columns]
        cure = f"Add {show(missing)}{'' if source == LOSSES else ', or read it with read_log, which knows other names'}."
        require(not missing, source, "have columns step and loss", frame.columns, cure=cure)
        require(len(frame) > 0, source, "have at least one row", [], cure="Check that the log was written.")
        table = pd.DataFrame({name: _column(frame, name, source) for name in COLUMNS}, index=frame.index)
        for name, rule, bad in _faults(table):
            _require_rows(~bad, frame, table, name, rule, source)
        notices = ()
        if keep is not None:
            require_choice(keep, "keep", ("last",), cure="Or leave it out.")
            frame, table, notices = _last_rows(frame, table, source)
        branches = ancestry(frame, pd.Series(table["run"]), source)
        window, noise = (_beside(frame, table, name, source) for name in BESIDE)
        averaged = {}
        for span in np.unique(window[window > 0]):
            where = f"{source}, averaged over {show(span)} steps"
            averaged[float(span)] = cls._checked(pd.DataFrame(table.loc[window == span]), where)
        made = cls._checked(pd.DataFrame(table.loc[~(window > 0)]), source)
        _require_plain(made, averaged, source)
        found = _noise_by_step(table.assign(gradient_noise=noise), source)
        notices += made.notices
        return replace(made, notices=notices, branches=branches, averaged=averaged, gradient_noise=found)

    @classmethod
    def _checked(cls, table: pd.DataFrame, source: str) -> LossTable:
        """Rows in order, once each, whose curves are whole."""
        table, notices = _merge_duplicates(table.sort_values(by=list(COLUMNS), ignore_index=True), source)
        _check_curves(table, source)
        for notice in notices:
            warnings.warn(notice, Notice, stacklevel=3)
        return cls(table, notices)

    def _facts(self) -> Facts:
        positions = np.unique(self.frame["position"].dropna())
        return {
            "runs": counted(self.runs),
            "test sets": counted(self.test_sets),
            "steps": extent(self.steps),
            "positions": extent(positions) if len(positions) else "none: means over all",
            **({"branches": counted(self.branches)} if self.branches else {}),
            **({"averaged over": f"{counted(map(show, self.averaged))} steps"} if self.averaged else {}),
            **warned(self.notices),
        }

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def runs(self) -> list[str]:
        """Names of the runs, sorted."""
        return sorted(self.frame["run"].unique())

    @property
    def test_sets(self) -> list[str]:
        """Names of the test sets, sorted."""
        return sorted(self.frame["test_set"].unique())

    @property
    def steps(self) -> np.ndarray:
        """Steps at which anything was measured, increasing (step)."""
        return np.unique(self.frame["step"].to_numpy(float))

    @property
    def by_position(self) -> bool:
        """Whether losses are given per token position."""
        return bool(self.frame["position"].notna().any())

    def select(self, run: str | Sequence[str] | None = None, *, test_set: str | Sequence[str] | None = None) -> LossTable:
        """Rows of one run (or several), of one test set (or several), or of both.

        Raises:
            DataError: there is no such run or test set; those there are get listed.
        """
        table = self
        for column, value, choices in (("run", run, self.runs), ("test_set", test_set, self.test_sets)):
            if value is not None:
                wanted = [value] if isinstance(value, str) else list(value)
                for one in wanted:
                    require_choice(one, column, choices, cure="Choose one of these.")
                table = table._where(partial(_among, column=column, wanted=wanted), f"{column} {show(value)}")
        return table

    def before(self, step: float) -> LossTable:
        """Rows of steps below ``step``."""
        require_number(step, "step")
        return self._where(lambda rows: rows["step"] < step, f"step below {show(step)}")

    def until(self, step: float) -> LossTable:
        """Rows of steps up to and including ``step``."""
        require_number(step, "step")
        return self._where(lambda rows: rows["step"] <= step, f"step up to {show(step)}")

    def after(self, step: float) -> LossTable:
        """Rows of steps above ``step``."""
        require_number(step, "step")
        return self._where(lambda rows: rows["step"] > step, f"step above {show(step)}")

    def curve(self) -> pd.DataFrame:
        """Losses of a single run on a single test set, as a grid (step, position); NaN where none was measured.

        Raises:
            DataError: there are several runs or test sets.
        """
        for name, values in (("run", self.runs), ("test_set", self.test_sets)):
            cure = f"Choose one with losses.select({name}=...), or --{name.replace('_', '-')} on the command line."
            require(len(values) == 1, "losses", f"hold a single {name}", values, cure=cure)
        filled = self.frame.assign(position=self.frame["position"].fillna(0).astype(int))
        return filled.pivot(index="step", columns="position", values="loss")

    def mean_losses(self) -> pd.Series:
        """Mean loss over positions of a single run on a single test set (step).

        The mean is over every position that the curve has anywhere. A checkpoint that lacks some is completed by its own
        shift from the average position curve, so that a missing first position does not look like progress.
        """
        curve = self.curve()
        if not curve.isna().to_numpy().any():
            return curve.mean(axis=1).rename("loss")
        typical = _typical_positions(curve)
        return ((curve - typical).mean(axis=1) + typical.mean()).rename("loss")

    def _where(self, keep: Callable[[pd.DataFrame], Any], wanted: str) -> LossTable:
        kept = self._kept(keep)
        require(kept is not None, "losses", f"have rows of {wanted}", self.steps, where="as steps", cure="Choose another.")
        return self if kept is None else kept

    def _kept(self, keep: Callable[[pd.DataFrame], Any]) -> LossTable | None:
        """The rows that are to be kept, those of averaged weights too; None if there are none."""
        rows = np.flatnonzero(np.asarray(keep(self.frame), bool))
        if not rows.size:
            return None
        kept = self.frame.iloc[rows].reset_index(drop=True)
        runs = set(kept["run"])
        parts = {span: part._kept(keep) for span, part in self.averaged.items()}
        return replace(
            self,
            frame=kept,
            rates=_of_runs(self.rates, kept),
            branches={run: (parent, step) for run, (parent, step) in self.branches.items() if {run, parent} <= runs},
            averaged={span: part for span, part in parts.items() if part is not None},
            gradient_noise=_of_runs(self.gradient_noise, kept),
        )


def _among(rows: pd.DataFrame, *, column: str, wanted: Sequence[str]) -> Any:
    return rows[column].isin(list(wanted))


def _of_runs(table: pd.DataFrame | None, losses: pd.DataFrame) -> pd.DataFrame | None:
    return None if table is None else pd.DataFrame(table.loc[table["run"].isin(list(losses["run"].unique()))])


def require_losses(value: object) -> None:
    """Raise ``DataError`` unless ``value`` is a loss table."""
    require_type(value, "losses", LossTable, cure="Make one with LossTable.from_frame(frame), or read_losses(path).")


def mean_series(
    measured: LossTable | pd.Series, *, run: str | None = None, test_set: str | None = None, after: float = -np.inf
) -> pd.Series:
    """Mean losses (step) of a table after a step; a series as it is.

    Raises:
        DataError: it is neither, or the table has no such run or test set, or several where none is named.

    >>> losses = LossTable.from_frame(pd.DataFrame({"step": [100, 200], "loss": [5.1, 4.7]}))
    >>> mean_series(losses, after=100).to_dict()
    {200.0: 4.7}
    """
    if isinstance(measured, pd.Series):
        return measured
    require_type(measured, "observed", LossTable, cure="Give a LossTable, or a pandas Series of losses by step.")
    means = measured.select(run, test_set=test_set).mean_losses()
    return means.loc[means.index > after]


def read_losses(path: str | Path, *, keep: Literal["last"] | None = None) -> LossTable:
    r"""Read a loss table from a csv, csv.gz or parquet file (columns as in ``LossTable.from_frame``).

    Args:
        path: of the file.
        keep: "last" keeps the last row of a checkpoint that was measured again, as after a resume.

    Raises:
        DataError: the file is missing, empty, no table, or holds a loss that cannot be used.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "losses.csv")
    >>> _ = path.write_text("step,loss\n100,5.1\n200,4.7\n")
    >>> read_losses(path).mean_losses().tolist()
    [5.1, 4.7]
    """
    path = file_path(path)
    return LossTable.from_frame(read_table(path), source=path.name, keep=keep)


def read_table(path: str | Path) -> pd.DataFrame:
    r"""Read any csv, csv.gz or parquet file; rows of a csv are numbered as its lines are, and names stay as written.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "losses.csv")
    >>> _ = path.write_text("step,loss\n100,5.1\n200,4.7\n")
    >>> read_table(path).index.tolist()
    [2, 3]
    """
    path = file_path(path)
    suffix = next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), path.suffix)
    require_choice(suffix, "file ending", ENDINGS, cure=f"Convert {path.name} to one of these.")
    require(path.is_file(), "file", "exist", str(path), cure="Check the path.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows longer than the first line, which lose cells
            return _read_parquet(path) if suffix == ".parquet" else _read_csv(path, zipped=suffix == ".csv.gz")
    except pd.errors.EmptyDataError:
        raise DataError(f"{path.name} must hold a table; got an empty file. Check that the log was written.") from None
    except DataError:
        raise
    except (ValueError, OSError, EOFError, zlib.error, csv.Error, pd.errors.ParserWarning) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise DataError(f"{path.name} must be a {suffix[1:]} table; got {reason}. Export it again.") from None


def _read_parquet(path: Path) -> pd.DataFrame:
    """Table of a parquet file by its own columns, whatever pandas noted beside them; levels of a name are joined by a slash."""
    from pyarrow import parquet

    frame = parquet.read_table(path).to_pandas(ignore_metadata=True)
    return frame.rename(columns=lambda name: "/".join(re.findall(r"'([^']+)'", name)) if name.startswith("('") else name)


def _read_csv(path: Path, *, zipped: bool) -> pd.DataFrame:
    """Table of a csv file, by line; a run called 001 or NA is called that, not 1 or nothing."""
    frame = pd.read_csv(path, index_col=False)
    with (gzip.open if zipped else open)(path, "rt", encoding="utf-8-sig", newline="") as text:
        rows = csv.reader(text)
        header = next(row for row in rows if row)
        lines = [rows.line_num for row in rows if len(row) > 1 or any(cell.strip() for cell in row)]
    require_once(header, path.name, COLUMNS)
    if named := [name for name in NAMES if name in frame]:
        names = pd.read_csv(path, usecols=named, dtype=str, keep_default_na=False)
        frame = frame.assign(**{name: names[name] for name in named})
    lines = lines if len(lines) == len(frame) else range(2, len(frame) + 2)
    return frame.set_index(pd.Index(lines, dtype=int, name="line"))


def _column(frame: pd.DataFrame, name: str, source: str) -> pd.Series:
    if name in NAMES:
        default = "run" if name == "run" else "test"
        names = pd.Series(frame.get(name, default), index=frame.index)
        texts = names.map(lambda cell: cell.decode(errors="replace") if isinstance(cell, bytes) else cell)
        return pd.Series(texts, index=frame.index, dtype="str").where(names.notna())  # pandas 2 makes None a name
    if name not in frame:
        return pd.Series(np.nan, index=frame.index)
    values = numbers(frame, name)
    words = values.isna() & frame[name].notna()
    _require_rows(~words.to_numpy(bool), frame, frame, name, "be a number", source)
    return values


def _last_rows(frame: pd.DataFrame, table: pd.DataFrame, source: str) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    """The last row of each run, test set, step, position and averaging window; and a notice that counts the others."""
    window = np.nan_to_num(_beside(frame, table, "averaged", source))
    last = ~table.assign(averaged=window).duplicated([*KEY, "averaged"], keep="last").to_numpy(bool)
    left = int((~last).sum())
    if not left:
        return frame, table, ()
    notice = f"{left} rows of {source} were measured again later; the last row of each checkpoint is kept."
    warnings.warn(notice, Notice, stacklevel=3)
    return frame.loc[last], table.loc[last], (notice,)


def _beside(frame: pd.DataFrame, table: pd.DataFrame, name: str, source: str) -> NDArray[np.float64]:
    """A column of what was measured beside the loss, NaN where it is blank (row)."""
    values = _column(frame, name, source).to_numpy(float)
    _require_rows(~np.isinf(values), frame, table, name, "be finite", source)
    _require_rows(~(values < 0), frame, table, name, "not be negative", source)
    return values


def _require_plain(losses: LossTable, averaged: Mapping[float, LossTable], source: str) -> None:
    """Raise ``DataError`` where losses of averaged weights have none of the weights themselves beside them."""
    plain = set(map(tuple, losses.frame[NAMES].drop_duplicates().to_numpy()))
    for span, part in averaged.items():
        for run, test_set in part.frame[NAMES].drop_duplicates().to_numpy():
            place = f"averaged over {show(span)} steps at run={show(run)}, test_set={show(test_set)} of {source}"
            cure = "Add rows with averaged 0, of the weights themselves."
            require((run, test_set) in plain, "losses", "have plain ones beside them", "none", where=place, cure=cure)


def _noise_by_step(table: pd.DataFrame, source: str) -> pd.DataFrame | None:
    """Noise of the gradient of every checkpoint, which all of its rows share: run, step, gradient_noise."""
    name = "gradient_noise"
    known = table.loc[table[name].notna(), ["run", "step", name]].drop_duplicates()
    twice = known[known.duplicated(["run", "step"], keep=False)]
    if len(twice):
        where = f"at {_place(twice.iloc[0][['run', 'step']].to_dict())} of {source}"
        rule, cure = "be given once per run and step", "Give all rows of a checkpoint the same."
        require(False, name, rule, twice[name].iloc[:2], where=where, cure=cure)
    return known.sort_values(by=["run", "step"], ignore_index=True) if len(known) else None


def _faults(table: pd.DataFrame) -> list[tuple[str, str, Rows]]:
    """What a row can break: column, rule, rows that break it."""
    blank = {name: (table[name].isna() | (table[name].str.strip() == "")).to_numpy(bool) for name in NAMES}
    step, position, loss, *others = (table[name].to_numpy(float) for name in COLUMNS[2:])
    whole = np.isfinite(position) & (position >= 0) & (position == np.floor(position))
    return [
        *((name, "be named", rows) for name, rows in blank.items()),
        ("step", "be finite and not negative", ~np.isfinite(step) | (step < 0)),
        ("position", "be a whole number from 0", ~np.isnan(position) & ~whole),
        ("position", "be below 2**53, as whole numbers are", position >= 2**53),
        ("loss", "be finite", ~np.isfinite(loss)),
        ("loss", "not be negative", loss < 0),
        *((name, "be finite", np.isinf(values)) for name, values in zip(COLUMNS[5:], others)),
        *((name, "not be negative", values < 0) for name, values in zip(COLUMNS[5:], others)),
    ]


def _require_rows(good: Rows, frame: pd.DataFrame, table: pd.DataFrame, name: str, rule: str, source: str) -> None:
    if good.all():
        return
    at = int(np.flatnonzero(~good)[0])
    row = {key: table[key].iloc[at] for key in KEY if key in table and key != name}
    line = f"({frame.index.name or 'row'} {frame.index[at]} of {source})"
    where = f"at {place} {line}" if (place := _place(row)) else line
    got = frame[name].fillna(np.nan).iloc[at]
    require(False, name, rule, got, where=where, cure="Drop the row or correct it.")


def _place(row: Mapping[Any, Any]) -> str:
    return ", ".join(f"{key}={show(value)}" for key, value in row.items() if pd.notna(value))


def _merge_duplicates(table: pd.DataFrame, source: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    repeated = table.duplicated(KEY, keep=False)
    if not repeated.any():
        return table, ()
    for name in COLUMNS[len(KEY) :]:
        values = table[repeated].groupby(KEY, dropna=False)[name].agg(["min", "max"]).reset_index()
        unequal = values[values["min"] < values["max"]]
        if len(unequal):
            first = unequal.iloc[0]
            rule = "be given once per run, test_set, step and position"
            cure = "Keep the right one; keep='last' keeps the last, as of a resumed run."
            where = f"at {_place(first[KEY].to_dict())} of {source}"
            require(False, name, rule, first[["min", "max"]], where=where, cure=cure)
    kept = table.drop_duplicates(KEY, ignore_index=True)
    return kept, (f"{len(table) - len(kept)} repeated rows of {source} gave the same loss and are merged.",)


def _check_curves(table: pd.DataFrame, source: str) -> None:
    """What only a whole curve can break: positions given for some rows alone, tokens that run backwards."""
    for _, curve in table.groupby(["run", "test_set"], sort=False):
        where = f"at {_place(curve.iloc[0][['run', 'test_set']].to_dict())} of {source}"
        blank = int(np.isnan(curve["position"].to_numpy(float)).sum())
        cure = "Keep the rows per position, or those of the mean."
        rule = "be given in every row or in none"
        place = f"blank of {len(curve)} {where}"
        require(blank in (0, len(curve)), "position", rule, blank, where=place, cure=cure)
        first = np.unique(curve["step"].to_numpy(float), return_index=True)[1]
        tokens = np.fmax.reduceat(curve["tokens"].to_numpy(float), first)
        tokens = tokens[~np.isnan(tokens)]
        falling = tokens[1:][np.diff(tokens) <= 0]
        cure = "Sort out steps that were counted from the start again after a resume."
        require(not falling.size, "tokens", "increase with step", falling, where=where, cure=cure)


def _typical_positions(curve: pd.DataFrame) -> pd.Series:
    """Average position curve of checkpoints shifted onto each other, each position from those that have it."""
    values = curve.to_numpy()
    typical = np.nanmean(values, axis=0)
    for _ in range(20):
        shift = np.nanmean(values - typical, axis=1, keepdims=True)
        typical = np.nanmean(values - shift, axis=0)
    return pd.Series(typical, index=curve.columns)
