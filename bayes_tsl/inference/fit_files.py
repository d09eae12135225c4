"""The file of a fit: NetCDF and a checksum, made and read in memory, and checked before a ``Fit`` is made of it.

In memory, since HDF5 takes the process down where the disk gets full while it writes, and may on reading damage, which the
checksum finds first. Files of earlier versions have none.
"""

from __future__ import annotations

from io import BytesIO

import h5netcdf
import xarray as xr
from xarray.backends import H5NetCDFStore

from bayes_tsl._common.checksums import with_checksum, without_checksum
from bayes_tsl._common.parallel import one_line
from bayes_tsl._common.validation import require
from bayes_tsl.errors import DataError
from bayes_tsl.inference.fit_checks import require_sound
from bayes_tsl.inference.older_files import UPDATES
from bayes_tsl.inference.schema import SCHEMA

_CURE = "Save it again with Fit.save, or fit again."


def written(data: xr.DataTree) -> bytes:
    """The file of a tree."""
    content = BytesIO()
    # and not DataTree.to_netcdf, which asks a Dask cluster for a lock, if there is one
    with h5netcdf.File(content, "w") as file:
        for path, node in data.subtree_with_keys:
            store = H5NetCDFStore(file, group=None if path == "." else path, mode="a")
            node.to_dataset(inherit=False).dump_to_store(store)
    return with_checksum(content.getvalue())


def read(content: bytes, name: str) -> xr.DataTree:
    """The tree in the content of the file ``name``, checked and brought up to date.

    Raises:
        DataError: it is no fit, or it is damaged.
    """
    content, vouched = without_checksum(content, name)
    try:
        with xr.open_datatree(BytesIO(content), engine="h5netcdf") as tree:
            data = tree.load()
    except Exception as error:  # HDF5 and its readers raise whatever damage leads them to
        raise DataError(f"{name} must be a NetCDF file; got {one_line(error)}. {_CURE}") from None
    found = data.attrs.get("schema", "another kind of file")
    require(found == SCHEMA or found in UPDATES, name, f"hold a {SCHEMA!r}", found, cure=_CURE)
    require(vouched or found != SCHEMA, name, "end in its checksum", "none", cure="Take another copy, or fit again.")
    try:
        current = UPDATES[found](data) if found in UPDATES else data
        require_sound(current, name)
    except DataError:
        raise
    except Exception as error:  # whatever is missing or of another kind
        raise DataError(f"{name} must hold a whole fit; got {type(error).__name__}: {one_line(error)}. {_CURE}") from None
    return current
