"""A log file as text, whatever wrote it: unpacked, decoded, without colours, cut into numbered lines."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bayes_tsl.errors import DataError

CUT_OFF = "{}: the last line was cut off while it was written and is left out."
LONGEST = 3000  # characters of a console line that are looked at: no loss stands further on, and expressions stay fast
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_RANK = re.compile(r"^\s*(\d+): ?")
_TORCHRUN = re.compile(r"^\[(?:rank|default)\d+\]: ?")
_MARKS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))  # PowerShell writes UTF-16
_MAGIC = {b"PAR1": "parquet", b":W&B": "wandb"}


@dataclass(frozen=True)
class Source:
    """A file, read when it is needed.

    Attributes:
        path: where it is.
    """

    path: Path

    @property
    def name(self) -> str:
        """What errors and notices call it."""
        return printable(self.path.name)

    @cached_property
    def content(self) -> bytes:
        """Bytes of the file, unpacked where it is a gzip file."""
        raw = self.path.read_bytes()
        if not raw.startswith(b"\x1f\x8b"):
            return raw
        try:
            return gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{self.name} must be a whole gzip file; got {str(error).rstrip('.')}. Copy it again.") from None

    @property
    def binary(self) -> str:
        """Kind of a binary file: parquet, wandb or tensorboard; '' for text."""
        if b"brain.Event:" in self.content[:64]:  # the version, which an event file begins with
            return "tensorboard"
        return _MAGIC.get(self.content[:4], "")

    @cached_property
    def text(self) -> str:
        """Text of the file, its lines ended by a line feed alone."""
        encoding = next((name for mark, name in _MARKS if self.content.startswith(mark)), "utf-8")
        text = self.content.decode(encoding, errors="replace")
        return text.replace("\r\n", "\n").replace("\x00", "")

    @cached_property
    def document(self) -> Any:
        """The text as JSON; None where it is none."""
        return parsed(self.text)

    @property
    def cut(self) -> bool:
        """Whether the last line has no end, as while it is written."""
        return bool(self.text) and not self.text.endswith("\n")

    @cached_property
    def lines(self) -> list[tuple[int, str]]:
        """Lines of a console with their numbers; what a progress bar wrote over counts as lines of its own."""
        plain = _COLOUR.sub("", self.text)
        pieces = [
            (number, piece[:LONGEST].rstrip())
            for number, line in enumerate(plain.split("\n"), start=1)
            for piece in line.split("\r")
            if piece.strip()
        ]
        label = _RANK if _all_labelled([piece for _, piece in pieces[:1000]]) else _TORCHRUN
        return [(number, label.sub("", piece, count=1)) for number, piece in pieces]


def _all_labelled(lines: list[str]) -> bool:
    """Whether nearly all lines begin with the number of a process, as of ``srun --label``, and not with that of a step."""
    labels = [found[1] for line in lines if (found := _RANK.match(line))]
    return len(labels) > 0.9 * len(lines) and 20 * len(set(labels)) < len(labels)


def parsed(text: str) -> Any:
    """JSON whose numbers are left as they are written, so that NaN differs from nothing; None where it is none."""
    try:
        return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError):
        return None


def printable(text: str) -> str:
    """Text that any file can hold: halves of characters, as JSON can escape, become question marks."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def decimals(number: str) -> int:
    """How many digits a number has after its point."""
    return len(number.lower().partition("e")[0].partition(".")[2])


def is_cut_off(last: str, earlier: list[str]) -> bool:
    """Whether a number at the very end of a file has fewer decimals than any of at least three before it."""
    return len(earlier) >= 3 and decimals(last) < min(map(decimals, earlier))
