"""Formats of logs, each a small value; ``bayes_tsl.data.reading`` reads them all."""

from bayes_tsl.data.formats.documents import DOCUMENTS
from bayes_tsl.data.formats.frameworks import FRAMEWORKS
from bayes_tsl.data.formats.kinds import Format, Line, console
from bayes_tsl.data.formats.scripts import SCRIPTS

FORMATS: dict[str, Format] = {one.name: one for one in (*DOCUMENTS, *SCRIPTS, *FRAMEWORKS)}

__all__ = ["FORMATS", "Format", "Line", "console"]
