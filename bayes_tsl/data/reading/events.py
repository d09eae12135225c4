"""Binary logs, read through the programs' own packages: TensorBoard's event files and W&B's ``.wandb``."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from bayes_tsl.data.reading.documents import Rows
from bayes_tsl.errors import DataError


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


def read_wandb(path: Path) -> Rows:
    """History of a run from the binary file that W&B writes beside a run, through its own package."""
    try:
        from wandb.proto import wandb_internal_pb2  # pyright: ignore[reportMissingImports]
        from wandb.sdk.internal.datastore import DataStore  # pyright: ignore[reportMissingImports]
    except ImportError:
        cure = "Run pip install wandb, or export the run's history from its page as csv."
        raise DataError(f"wandb must be installed to read {path.name}; got no such package. {cure}") from None
    store, rows = DataStore(), []
    store.open_for_scan(str(path))
    while True:
        try:
            data = store.scan_data()
        except AssertionError:  # a file that is being written ends in the middle of a record
            break
        if data is None:
            break
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            rows.append({item.key or "/".join(item.nested_key): str(json.loads(item.value_json)) for item in items})
    return Rows(rows, pd.RangeIndex(1, len(rows) + 1, name="row"))
