r"""A checksum at the end of a file, so that damage is found before anything is made of the content.

    content | "\nbayes_tsl sha256 " | 64 hexadecimal digits | "\n"

Readers of NetCDF do not look beyond the content, so that they read such a file as it is.
"""

from __future__ import annotations

import hashlib

from bayes_tsl._common.validation import require

_MARK = b"\nbayes_tsl sha256 "
_LENGTH = len(_MARK) + 64 + 1


def with_checksum(content: bytes) -> bytes:
    """The content of a file, followed by its checksum."""
    return content + _line(content)


def without_checksum(written: bytes, name: str) -> tuple[bytes, bool]:
    """The content of a file, and whether a checksum vouches for it.

    Raises:
        DataError: the content of the file ``name`` is not what was written.

    >>> without_checksum(with_checksum(b"draws"), "fit.nc")
    (b'draws', True)
    """
    content, line = written[:-_LENGTH], written[-_LENGTH:]
    if not line.startswith(_MARK):
        return written, False
    cure = "Take another copy, or make it again."
    require(line == _line(content), name, "be as it was written", "another checksum", cure=cure)
    return content, True


def _line(content: bytes) -> bytes:
    return _MARK + hashlib.sha256(content).hexdigest().encode() + b"\n"
