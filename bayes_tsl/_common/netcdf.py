"""Trees of draws as NetCDF files that end in a checksum, made and read in memory.

In memory, since HDF5 takes the process down where the disk gets full while it writes, and may on reading damage, which the
checksum finds first.
"""

from __future__ import annotations

from io import BytesIO

import h5netcdf
import xarray as xr
from xarray.backends import H5NetCDFStore

from bayes_tsl._common.checksums import with_checksum, without_checksum
from bayes_tsl._common.parallel import one_line
from bayes_tsl.errors import DataError


def written(data: xr.DataTree) -> bytes:
    """The file of a tree."""
    content = BytesIO()
    # and not DataTree.to_netcdf, which asks a Dask cluster for a lock, if there is one
    with h5netcdf.File(content, "w") as file:
        for path, node in data.subtree_with_keys:
            store = H5NetCDFStore(file, group=None if path == "." else path, mode="a")
            node.to_dataset(inherit=False).dump_to_store(store)
    return with_checksum(content.getvalue())


def read_tree(content: bytes, name: str, *, cure: str) -> tuple[xr.DataTree, bool]:
    """The tree in the content of the file ``name``, and whether a checksum vouches for it.

    Raises:
        DataError: it is no NetCDF file, or it is damaged; ``cure`` says what to do.
    """
    content, vouched = without_checksum(content, name)
    try:
        with xr.open_datatree(BytesIO(content), engine="h5netcdf") as tree:
            return tree.load(), vouched
    except Exception as error:  # HDF5 and its readers raise whatever damage leads them to
        raise DataError(f"{name} must be a NetCDF file; got {one_line(error)}. {cure}") from None
