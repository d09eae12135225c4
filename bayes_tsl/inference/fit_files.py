"""The file of a fit: NetCDF and a checksum, checked before a ``Fit`` is made of it.

Files of earlier versions have no checksum.
"""

from __future__ import annotations

import xarray as xr

from bayes_tsl._common.netcdf import read_tree, written
from bayes_tsl._common.parallel import one_line
from bayes_tsl._common.validation import require
from bayes_tsl.errors import DataError
from bayes_tsl.inference.fit_checks import require_sound
from bayes_tsl.inference.older_files import UPDATES
from bayes_tsl.inference.schema import SCHEMA

__all__ = ["read", "written"]

_CURE = "Save it again with Fit.save, or fit again."


_READERS = {"bayes_tsl forecast": "load_forecast", "bayes_tsl scaling": "load_scaling"}  # of files that are no fit


def _reader(schema: str) -> str:
    """What reads a file of another kind, if anything does."""
    return next((f"Read it with {reader}." for kind, reader in _READERS.items() if schema.startswith(kind)), "")


def read(content: bytes, name: str) -> xr.DataTree:
    """The tree in the content of the file ``name``, checked and brought up to date.

    Raises:
        DataError: it is no fit, or it is damaged.
    """
    data, vouched = read_tree(content, name, cure=_CURE)
    found = data.attrs.get("schema", "another kind of file")
    require(found == SCHEMA or found in UPDATES, name, f"hold a {SCHEMA!r}", found, cure=_reader(found) or _CURE)
    require(vouched or found != SCHEMA, name, "end in its checksum", "none", cure="Take another copy, or fit again.")
    try:
        current = UPDATES[found](data) if found in UPDATES else data
        require_sound(current, name)
    except DataError:
        raise
    except Exception as error:  # whatever is missing or of another kind
        raise DataError(f"{name} must hold a whole fit; got {type(error).__name__}: {one_line(error)}. {_CURE}") from None
    return current
