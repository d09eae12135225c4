"""What is said of a file that no format fits: lines that look like losses, the formats there are, the next command."""

from __future__ import annotations

import re

from bayes_tsl.data.formats import FORMATS
from bayes_tsl.data.formats.names import is_eval
from bayes_tsl.data.reading.source import Source, printable
from bayes_tsl.errors import DataError

_LIKE_LOSS = re.compile(
    r"\b([\w./]*?(?:loss|nll|perplexity|ppl|bpb|xent|entropy)\w*)\b(\W{1,4}|\W{0,4}(?=\d))(\d[\d.]*)", re.IGNORECASE
)
_LIKE_STEP = tuple(
    re.compile(rf"\b({words})\b(\W{{1,4}})(\d+)", re.IGNORECASE)
    for words in ("global_step|steps?|iter(?:ation)?s?|it", "updates?|batch", "epoch|ep")
)
_OF_ALL = re.compile(r"\b\d+/\d+")  # as of a progress bar
_SHOWN = 2


def unknown(source: Source) -> DataError:
    """The refusal of a file that is no known log."""
    like = [(number, line) for number, line in source.lines if _LIKE_LOSS.search(line)][:_SHOWN]
    start = source.text.strip().partition("\n")[0][:60]
    found = " and ".join(f"{printable(line.strip()[:100])!r} in line {number}" for number, line in like)
    seen = (
        f"lines that look like losses, {found}"
        if like
        else f"{printable(start)!r} as its first line and no line that looks like a loss"
    )
    pattern = pattern_for(like[0][1]) if like else r"step (?P<step>\d+).*loss (?P<loss>\S+)"
    return DataError(
        f"{source.name} must be a log of a known format ({', '.join(FORMATS)}); got {seen}. "
        f"Describe its lines with pattern=..., on the command line --pattern '{pattern}', "
        "or make it a table with columns step and loss."
    )


def pattern_for(line: str) -> str:
    r"""A pattern for lines like this one, as ``--pattern`` takes it.

    >>> pattern_for("[it 500] L=2 my_loss: 3.14")
    'it\\W+(?P<step>\\d+).*my_loss\\W+(?P<loss>[\\d.]+)'
    """
    losses = sorted(_LIKE_LOSS.finditer(line), key=lambda found: not is_eval(found[1]))
    parts = [(found.start(), _group(found[1], r"[\d.]+", "val_loss" if is_eval(found[1]) else "loss")) for found in losses[:1]]
    step = next((found for like in _LIKE_STEP if (found := like.search(line))), None)
    of_all = _OF_ALL.search(line)
    if step:
        parts.append((step.start(), _group(step[1], r"\d+", "step")))
    else:
        parts.append((of_all.start(), r"\b(?P<step>\d+)/\d+") if of_all else (-1, r"(?P<step>\d+)"))
    return ".*".join(text for _, text in sorted(parts))


def _group(word: str, value: str, name: str) -> str:
    return rf"{re.escape(word)}\W+(?P<{name}>{value})"
