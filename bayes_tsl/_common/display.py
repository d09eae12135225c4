"""How values show themselves: what they state in a few lines of text, and the same as a table in a notebook.

A class says what it states in a method ``_facts``: values in words, by their names. A value under the name "" is the headline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from html import escape
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from bayes_tsl._common.digits import decimals
from bayes_tsl._common.intervals import Array, interval_along
from bayes_tsl._common.validation import show

Facts = Mapping[str, str]
T = TypeVar("T")

_MOST = 5  # names that are written out


def shown(cls: type[T]) -> type[T]:
    """The class, whose ``repr`` and notebook table are made of its ``_facts``.

    >>> @shown
    ... class Answer:
    ...     def _facts(self) -> Facts:
    ...         return {"": "3.48", "unit": "nats", "prob": "<none>"}
    >>> Answer()
    Answer: 3.48
      unit  nats
      prob  <none>
    """
    setattr(cls, "__repr__", _method(text_of, "__repr__"))  # noqa: B010  # whose parameter need not be called self
    return shown_in_notebooks(cls)


def shown_in_notebooks(cls: type[T]) -> type[T]:
    """The class, whose notebook table is made of its ``_facts``, and whose ``repr`` is its own."""
    if "_repr_html_" not in vars(cls):
        setattr(cls, "_repr_html_", _method(html_of, "_repr_html_"))  # noqa: B010  # an attribute that classes do not declare
    return cls


def text_of(name: str, facts: Facts) -> str:
    """Facts as lines of text, under the name of their class."""
    rows = {key: value for key, value in facts.items() if key}
    width = max(map(len, rows), default=0)
    return "\n".join([_title(name, facts), *(f"  {key:{width}}  {value}" for key, value in rows.items())])


def html_of(name: str, facts: Facts) -> str:
    """Facts as an HTML table, everything escaped.

    >>> html_of("Answer", {"": "3.48", "unit": "<none>"})
    '<table><caption>Answer: 3.48</caption><tr><th>unit</th><td>&lt;none&gt;</td></tr></table>'
    """
    rows = [f"<tr><th>{escape(key)}</th><td>{escape(value)}</td></tr>" for key, value in facts.items() if key]
    return f"<table><caption>{escape(_title(name, facts))}</caption>{''.join(rows)}</table>"


def _title(name: str, facts: Facts) -> str:
    return f"{name}: {facts['']}" if "" in facts else name


def _method(form: Callable[[str, Facts], str], name: str) -> Callable[[Any], str]:
    def method(self: Any) -> str:
        return form(type(self).__name__, self._facts())

    method.__name__ = name
    return method


def estimate(draws: Array, *, prob: float = 0.9) -> str:
    """Median and central interval of draws, with as many digits as the interval leaves meaning to.

    >>> estimate(np.linspace(3.0, 4.0, 101))
    '3.50 (3.05 to 3.95, 90% interval)'
    """
    lower, upper = interval_along(draws, prob, axis=-1)
    digits = decimals(lower, upper)
    return f"{np.median(draws):.{digits}f} ({lower:.{digits}f} to {upper:.{digits}f}, {prob:.0%} interval)"


def counted(names: Iterable[object]) -> str:
    """How many there are, and the first of them.

    >>> counted("abcdefg")
    '7: a, b, c, d, e and 2 more'
    """
    words = [str(name) for name in names]
    more = f" and {len(words) - _MOST} more" if len(words) > _MOST else ""
    return f"{len(words)}: {', '.join(words[:_MOST])}{more}" if words else "none"


def extent(values: ArrayLike) -> str:
    """How many increasing numbers there are, the first and the last.

    >>> extent([1500.0, 2000.0, 2500.0]), extent([2000.0])
    ('3, 1500 to 2500', '1: 2000')
    """
    numbers = np.atleast_1d(values)
    return f"{len(numbers)}, {show(numbers[0])} to {show(numbers[-1])}" if len(numbers) > 1 else f"1: {show(numbers[0])}"


def cut(facts: Facts) -> Facts:
    """The first few of many facts, and how many more there are."""
    kept = dict(list(facts.items())[:_MOST])
    return kept | ({"and": f"{len(facts) - _MOST} more"} if len(facts) > _MOST else {})


def doubted(text: str, *, converged: bool) -> str:
    """The text of a value, behind a warning where its chains did not converge.

    >>> doubted("Stop now.", converged=False)
    'NOT CONVERGED, do not act on this: Stop now.'
    """
    return text if converged else f"NOT CONVERGED, do not act on this: {text}"


def warned(notices: Iterable[str], *, converged: bool = True) -> Facts:
    """What stands against a value: chains that did not converge, and how many notices it has."""
    count = len(list(notices))
    return ({} if converged else {"chains": "NOT CONVERGED"}) | ({"notices": f"{count}, in .notices"} if count else {})
