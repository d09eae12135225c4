"""Binary logs, read through the programs' own packages: TensorBoard's event files and W&B's ``.wandb``."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from bayes_tsl.data.reading.documents import Rows
from bayes_tsl.errors import DataError

_WANDB_HEADER, _BLOCK, _PIECE = 7, 32768, struct.Struct("<IHB")
_WHOLE, _FIRST, _LAST = 1, 2, 4  # places of a piece


def read_events(path: Path) -> pd.DataFrame:
    """TensorBoard's event files, one or a folder of them: a metric per tag. Needs the extra ``tensorboard``."""
    try:
        from tensorboard.backend.event_processing import event_accumulator  # pyright: ignore[reportMissingImports]
        from tensorboard.util.tensor_util import make_ndarray  # pyright: ignore[reportMissingImports]
    except ImportError:
        cure = "Run pip install 'bayes_tsl[tensorboard]'."
        raise DataError(f"tensorboard must be installed to read {path.name}; got no such package. {cure}") from None
    everything = {"scalars": 0, "tensors": 0}
    log = event_accumulator.EventAccumulator(str(path), size_guidance=everything, purge_orphaned_data=False).Reload()
    rows = [(tag, event.step, event.value, event.wall_time) for tag in log.Tags()["scalars"] for event in log.Scalars(tag)]
    for tag in log.Tags()["tensors"]:  # which tf.summary writes in place of scalars
        values = [(event, make_ndarray(event.tensor_proto)) for event in log.Tensors(tag)]
        rows += [(tag, event.step, value.item(), event.wall_time) for event, value in values if value.ndim == 0]
    frame = pd.DataFrame(rows, columns=["metric", "step", "value", "time"])
    frame = frame.sort_values(by="time", kind="stable", ignore_index=True).drop(columns="time")
    return frame.set_axis(pd.RangeIndex(1, len(frame) + 1, name="row"))


def read_wandb(path: Path, content: bytes) -> Rows:
    """History of a run from the binary file that W&B writes beside a run, its records read by W&B's own package."""
    try:
        from google.protobuf.message import DecodeError  # pyright: ignore[reportMissingImports]
        from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportMissingImports]
    except ImportError:
        cure = "Run pip install wandb, or export the run's history from its page as csv."
        raise DataError(f"wandb must be installed to read {path.name}; got no such package. {cure}") from None
    rows = []
    for data in _records(content):
        try:
            record = Record.FromString(data)
        except DecodeError:
            raise DataError(f"{path.name} must be a whole .wandb file; got a damaged record. Copy it again.") from None
        if record.WhichOneof("record_type") == "history":
            items = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
            rows.append({"_step": str(record.history.step.num), **items})
    return Rows(rows, pd.RangeIndex(1, len(rows) + 1, name="row"))


def _records(content: bytes) -> Iterator[bytes]:
    """Records of a log in LevelDB's format: blocks of 32 KiB, pieces with a checksum, a length and their place in a record.

    A file that is being written ends in the middle of a record, which is left out. The format is documented in LevelDB's
    doc/log_format.md; W&B puts seven bytes before the first piece.
    """
    at, parts = _WANDB_HEADER, b""
    while at + _PIECE.size <= len(content):
        if _BLOCK - at % _BLOCK < _PIECE.size:
            at += _BLOCK - at % _BLOCK
            continue
        _, length, place = _PIECE.unpack_from(content, at)
        piece = content[at + _PIECE.size : at + _PIECE.size + length]
        at += _PIECE.size + length
        parts = piece if place in (_WHOLE, _FIRST) else parts + piece
        if place in (_WHOLE, _LAST) and len(piece) == length:
            yield parts
