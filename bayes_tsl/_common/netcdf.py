"""Trees of draws as NetCDF files that end in a checksum, made and read in memory.

In memory, since HDF5 takes the process down where the disk gets full while it writes, and may on reading damage, which the
checksum finds first.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import h5netcdf
import xarray as xr
from xarray.backends import H5NetCDFStore

from bayes_tsl._common.checksums import with_checksum, without_checksum
from bayes_tsl._common.parallel import one_line
from bayes_tsl._common.validation import file_path, require
from bayes_tsl.errors import DataError

T = TypeVar("T")


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


def read_whole(path: str | Path, kind: str, make: Callable[[xr.DataTree], T], *, schema: str, saved_by: str, again: str) -> T:
    """What ``make`` makes of the tree in a file of this ``schema``, which a checksum vouches for.

    Args:
        path: of the file.
        kind: what it holds, in a word.
        make: raises where the tree lacks something, or has something of another kind.
        schema: that the tree names.
        saved_by: the method that writes such files.
        again: what to do where there is no other copy, in words.

    Raises:
        DataError: there is no such file, it holds something else, or it is damaged.
    """
    path = file_path(path)
    require(path.is_file(), kind, "be a file", str(path), cure="Check the path.")
    cure = f"Save it again with {saved_by}, or {again}."
    data, vouched = read_tree(path.read_bytes(), path.name, cure=cure)
    found = data.attrs.get("schema", "another kind of file")
    require(found == schema, path.name, f"hold a {schema!r}", found, cure=cure)
    require(vouched, path.name, "end in its checksum", "none", cure=f"Take another copy, or {again}.")
    try:
        return make(data)
    except DataError as error:
        raise DataError(f"{path.name}, {error} {cure}") from None
    except Exception as error:  # whatever is missing or of another kind
        problem = f"{type(error).__name__}: {one_line(error)}"
        raise DataError(f"{path.name} must hold a whole {kind}; got {problem}. {cure}") from None
