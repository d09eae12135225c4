r"""What a format is: a small value that says how its files are recognised and read.

Consoles are described by templates of lines. A template is a regular expression in which ``{step}`` stands for a step and any
other ``{name}`` for the value of the metric of that name; ``{set}`` stands for the name of a validation set:

    step {step}: train loss {train loss}, val loss {val loss}

The one engine in ``bayes_tsl.data.reading`` reads every format.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

NUMBER = r"[-+]?(?:nan|inf(?:inity)?|\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d.])|\d+(?:\.\d*)?(?:e[-+]?\d+)?)"
_STEP = r"\d{1,3}(?:,\d{3})+(?!\d)|\d+"
_SLOT = re.compile(r"\{([a-z][^{}]*)\}", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    """A kind of line of a console.

    Attributes:
        template: regular expression with slots, as above, or with named groups.
        pairs: regular expression with two groups, name and value: every such pair of a line that matches is a metric, too.
    """

    template: str
    pairs: str | None = None

    @cached_property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots, in their order."""
        return tuple(_SLOT.findall(self.template))

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The template as a regular expression with a group per slot."""
        return re.compile(_SLOT.sub(lambda slot: f"({_slot(slot[1])})", self.template), re.IGNORECASE)

    @cached_property
    def pair(self) -> re.Pattern[str] | None:
        """The expression of pairs."""
        return None if self.pairs is None else re.compile(self.pairs, re.IGNORECASE)


@dataclass(frozen=True)
class Format:
    """A kind of log.

    Attributes:
        name: what ``format=`` and ``--format`` call it.
        program: what writes it, for users.
        shape: console lines, a table, JSON, printed dicts, event files of TensorBoard or a binary log of W&B.
        lines: of a console.
        stepless: which step a line without one belongs to: that of the last line before it, of the next after it, or done
            before the next began.
        unit: of losses whose names say none.
        by_file: metric that is named by the file and not in it.
        clock: what is said where steps are no steps of training.
        no_step: what to do where there is no step.
    """

    name: str
    program: str
    shape: Literal["console", "table", "json", "dicts", "events", "wandb"] = "console"
    lines: tuple[Line, ...] = ()
    stepless: Literal["last", "next", "before next"] = "last"
    unit: str = "nats"
    by_file: str | None = None
    clock: str = "steps"
    no_step: str = ""


def console(name: str, program: str, *lines: str | Line, **more: str) -> Format:
    """A format of console lines, given as templates."""
    made = tuple(line if isinstance(line, Line) else Line(line) for line in lines)
    return Format(name, program, lines=made, **more)  # pyright: ignore[reportArgumentType]


def _slot(name: str) -> str:
    return _STEP if name == "step" else r"[^\s'\"|/]+" if name == "set" else NUMBER
