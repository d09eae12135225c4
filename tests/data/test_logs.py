"""Logs of each format, read value by value; what is left out and said; what is turned down, and how."""

from __future__ import annotations

import importlib.util
import math
import shutil
import struct
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
from bayes_tsl.cli.main import main
from bayes_tsl.data.formats import FORMATS
from bayes_tsl.data.logs import recognise
from bayes_tsl.data.reading.events import _records
from tests.conftest import refusal

LOGS = Path(__file__).parent / "logs"
NAN = float("nan")
NO_TENSORBOARD = importlib.util.find_spec("tensorboard") is None


def read(path: str | Path, **options: Any) -> bt.LossTable:
    """A log of the folder, or of another, its notices unsaid."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bt.Notice)
        return bt.read_log(LOGS / path, **options)


def again(count: int, name: str) -> str:
    return f"{count} rows of {name} were logged again at the same step; the last of each step counts."


def fell(name: str, place: str, last: float, step: float, gone: int) -> str:
    return (
        f"{name}: at {place} the step fell from {last} to {step}, a restart; "
        f"{gone} rows of the branch abandoned there are left out."
    )


def plainly(notices: tuple[str, ...]) -> list[str]:
    """Notices but for that of few checkpoints, which short logs all have."""
    return [notice for notice in notices if "a forecast from fewer than 10" not in notice]


LOST = "1 rows of {} without a finite loss are left out.".format
ONLY_2 = "{} has only 2 checkpoints: a forecast from fewer than 10 says little more than its priors.".format
TRAIN_4 = " It has 4 losses 'loss': read these with --split train."
NANOGPT = ("nanogpt.log", "line 14", 500, 250)
READ = [
    ("losses.csv", {}, "table", {0: 10.95, 100: 6.3}, (fell("losses.csv", "line 5", 200, 100, 2), LOST("losses.csv"))),
    ("columns.csv", {}, "wandb-csv", {0: 10.94, 100: 6.31}, ()),
    ("columns.csv", {"metric": "train_loss"}, "wandb-csv", {0: 10.93, 100: 6.28}, ()),
    ("wandb_chart.csv", {"run": "sunny-sky-12"}, "wandb-csv", {0: 10.9401, 100: 6.3118, 200: 5.2693}, ()),
    ("wandb_chart.csv", {"run": "lr 3e-4 - wd 0"}, "wandb-csv", {0: 10.9355, 100: 6.4402}, (LOST("wandb_chart.csv"),)),
    (
        "wandb_chart.csv",
        {"run": "sunny-sky-12", "split": "train"},
        "wandb-csv",
        {0: 10.9312, 50: 7.5113, 100: 6.2874, 150: 5.6021, 200: 5.2406},
        (),
    ),
    (
        "wandb_global_step.csv",
        {},
        "wandb-csv",
        {499: 5.812, 749: 5.431, 999: 5.097},
        (fell("wandb_global_step.csv", "line 4", 999, 749, 1),),
    ),
    (
        "wandb_history.jsonl",
        {},
        "wandb-jsonl",
        {0: 10.96, 100: 6.58, 200: 5.87},
        (fell("wandb_history.jsonl", "line 10", 300, 200, 2),),
    ),
    (
        "wandb_history.jsonl",
        {"metric": "train/loss"},
        "wandb-jsonl",
        {0: 10.97, 100: 6.61, 200: 5.91},
        (fell("wandb_history.jsonl", "line 10", 300, 200, 2),),
    ),
    ("trainer_state.json", {}, "trainer-state", {500: 5.7721, 1000: 5.1386, 1500: 4.8834}, ()),
    ("trainer_state.json", {"split": "train"}, "trainer-state", {250: 6.8423, 500: 5.9017}, (LOST("trainer_state.json"),)),
    ("nanogpt.log", {}, "nanogpt", {0: 4.2823, 250: 2.0674}, (fell(*NANOGPT, 2), LOST("nanogpt.log"))),
    (
        "nanogpt.log",
        {"split": "train"},
        "nanogpt",
        {0: 4.2654, 10: 3.1463, 250: 2.0301},
        (fell(*NANOGPT, 2), LOST("nanogpt.log")),
    ),
    (
        "nanogpt.log",
        {"metric": "train estimate"},
        "nanogpt",
        {0: 4.2874, 250: 1.9645},
        (fell(*NANOGPT, 2), LOST("nanogpt.log")),
    ),
    ("llmc_console.log", {}, "llmc", {0: 11.009463, 250: 6.458911, 500: 5.634501}, (again(1, "llmc_console.log"),)),
    (
        "llmc_console.log",
        {"split": "train"},
        "llmc",
        {1: 11.010327, 2: 10.961502, 250: 6.480913, 251: 6.43117},
        (fell("llmc_console.log", "line 15", 300, 251, 2), LOST("llmc_console.log")),
    ),
    ("llmc_main.log", {}, "llmc", {0: 11.0095, 250: 6.4589, 500: 5.6345}, (again(1, "llmc_main.log"),)),
    (
        "llmc_main.log",
        {"split": "train"},
        "llmc",
        {0: 11.0103, 249: 6.4809, 250: 6.4311},
        (fell("llmc_main.log", "line 9", 299, 250, 2),),
    ),
    ("modded_nanogpt.txt", {}, "modded-nanogpt", {0: 10.8258, 125: 4.3005, 250: 3.9712}, (LOST("modded_nanogpt.txt"),)),
    ("modded_nanogpt.txt", {"split": "train"}, "modded-nanogpt", {1: 10.8259, 125: 4.3312}, ()),
]


@pytest.mark.parametrize(("name", "options", "format", "losses", "said"), READ)
def test_losses_of_each_format(
    name: str, options: dict[str, str], format: str, losses: dict[int, float], said: tuple[str, ...]
) -> None:
    table = read(name, **options)
    assert recognise(LOGS / name) == format
    assert table.mean_losses().to_dict() == losses
    assert plainly(table.notices) == list(said)
    assert read(name, format=format, **options).frame.equals(table.frame)
    training = options.get("split") == "train" or options.get("metric", "").startswith("train")
    assert table.test_sets == ["train" if training else "test"]
    assert table.runs == [options.get("run", "base" if name == "wandb_global_step.csv" else "run")]


def test_notices_are_said() -> None:
    with pytest.warns(bt.Notice) as said:
        table = bt.read_log(LOGS / "nanogpt.log")
    assert tuple(str(warning.message) for warning in said) == table.notices
    assert {warning.filename for warning in said} == {__file__}


@pytest.mark.parametrize(
    ("name", "options", "column", "values"),
    [
        ("losses.csv", {}, "lr", [0, 5e-4]),
        ("losses.csv", {}, "loss_se", [0.02, 0.01]),
        ("wandb_history.jsonl", {}, "lr", [0, 3e-4, 5e-4]),
        ("wandb_history.jsonl", {}, "tokens", [NAN, 3276800, 6553600]),
        ("trainer_state.json", {}, "lr", [6e-4, 4.5e-4, NAN]),
        ("trainer_state.json", {"split": "train"}, "tokens", [8192000, 16384000]),
        ("llmc_console.log", {}, "lr", [NAN, 2.14e-4, 4.29e-4]),
        ("llmc_main.log", {}, "lr", [1e-6, 2.15e-4, NAN]),
    ],
)
def test_what_is_logged_beside_a_loss_comes_along(name: str, options: dict, column: str, values: list[float]) -> None:
    np.testing.assert_array_equal(read(name, **options).frame[column], values)


def test_units_are_converted_to_nats() -> None:
    nats, bits, perplexity = (read("losses.csv", unit=unit).frame for unit in ("nats", "bits", "perplexity"))
    np.testing.assert_allclose(bits["loss"], np.log(2) * nats["loss"], rtol=1e-15)
    np.testing.assert_allclose(bits["loss_se"], np.log(2) * nats["loss_se"], rtol=1e-15)
    np.testing.assert_allclose(perplexity["loss"], np.log(nats["loss"]), rtol=1e-15)
    np.testing.assert_allclose(perplexity["loss_se"], nats["loss_se"] / nats["loss"], rtol=1e-15)


def test_a_run_is_named_where_the_log_does_not() -> None:
    assert read("nanogpt.log", run="small").runs == ["small"]
    assert read("wandb_chart.csv").runs == ["lr 3e-4 - wd 0", "sunny-sky-12"]


def test_training_losses_alone_are_taken_and_said(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text("iter 0: loss 4.2, time 30ms, mfu -100.00%\niter 10: loss 3.1, time 30ms, mfu 9.1%")
    table = read(tmp_path / "train.log")
    assert table.mean_losses().to_dict() == {0: 4.2, 10: 3.1}
    assert plainly(table.notices) == [
        "train.log has no evaluation losses; these are of training, and so is a forecast of them (--split train says that they "
        "are meant)."
    ]
    assert plainly(read(tmp_path / "train.log", split="train").notices) == []


def test_a_trainers_own_steps_come_first_where_every_loss_has_them(tmp_path: Path) -> None:
    rows = ['{"_step": 3, "trainer/global_step": 100, "val_loss": 4.0}', '{"_step": 5, "gpu": 0.9}']
    path = tmp_path / "history.jsonl"
    path.write_text("\n".join([*rows, '{"_step": 7, "trainer/global_step": 200, "val_loss": 3.5}']))
    assert read(path).steps.tolist() == [100, 200]
    path.write_text("\n".join([*rows, '{"_step": 7, "val_loss": 3.5}']))
    assert read(path).steps.tolist() == [3, 7]


def test_runs_in_a_column_and_parquet(tmp_path: Path) -> None:
    frame = pd.DataFrame({"_step": [0, 0, 10], "run": ["a", "b", "b"], "eval/loss": [5.0, 6.0, NAN]})
    frame.to_parquet(tmp_path / "history.parquet")
    assert read(tmp_path / "history.parquet").frame[["run", "step", "loss"]].to_numpy().tolist() == [["a", 0, 5], ["b", 0, 6]]


def test_a_comma_after_the_last_cell_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Step,a - loss\n1,5,\n2,4,\n")
    assert read(tmp_path / "a.csv", split="train").mean_losses().to_dict() == {1: 5, 2: 4}


def test_rows_of_averaged_weights_and_ancestry_are_left_out_aloud(tmp_path: Path) -> None:
    rows = pd.DataFrame({"step": [1, 2, 2, 3], "loss": [3.0, 2.9, 2.5, 2.8], "averaged": [0, 0, 1, 0], "parent": [None] * 4})
    rows.to_csv(tmp_path / "table.csv", index=False)
    table = read(tmp_path / "table.csv", format="table")
    assert table.mean_losses().tolist() == [3.0, 2.9, 2.8]
    left_out = "are left out, with 1 rows of averaged weights: read the table as it is, with read_losses, to keep them."
    assert f"Columns 'averaged' of table.csv {left_out}" in table.notices


def test_positions_of_a_table_stay(tmp_path: Path) -> None:
    frame = pd.DataFrame({"step": 10, "position": [0, 1], "loss": [5.0, 4.0], "test_set": "prose", "val_note": "x"})
    frame.drop(columns="val_note").to_csv(tmp_path / "losses.csv.gz", index=False)
    table = read(tmp_path / "losses.csv.gz")
    assert (table.by_position, table.test_sets) == (True, ["prose"])


CORRECT = "Drop the row or correct it."
BY_NAME = "Choose one with metric=..., or --metric on the command line; 'all' reads each as a test set."
KNOWN = f"must be a log of a known format ({', '.join(FORMATS)}); got "
PATTERN = (
    r"Describe its lines with pattern=..., on the command line --pattern 'step (?P<step>\d+).*loss (?P<loss>\S+)', "
    "or make it a table with columns step and loss."
)
HEAD = '{"_step": 1, "eval/loss": 5.0}\n'
BAD = [
    (
        "notes.txt",
        "Dear diary,\nstep by step",
        {},
        f"notes.txt {KNOWN}'Dear diary,' as its first line and no line that looks like a loss. {PATTERN}",
    ),
    ("empty.log", "\n", {}, f"empty.log {KNOWN}'' as its first line and no line that looks like a loss. {PATTERN}"),
    (
        "own.log",
        "[ep 1 | it 500] my_loss=3.14\n",
        {},
        f"own.log {KNOWN}lines that look like losses, '[ep 1 | it 500] my_loss=3.14' in line 1. Describe its lines with "
        r"pattern=..., on the command line --pattern 'it\W+(?P<step>\d+).*my_loss\W+(?P<loss>[\d.]+)', "
        "or make it a table with columns step and loss.",
    ),
    (
        "own.log",
        "it 500 loss 3",
        {"pattern": "loss (?P<loss>"},
        "pattern must be a regular expression; got 'loss (?P<loss>': missing ), unterminated subpattern at position 5. "
        "Correct it.",
    ),
    (
        "own.log",
        "it 500 loss 3",
        {"pattern": "loss (?P<loss>.*)"},
        r"pattern must have the groups step and loss; got 'loss'. Write e.g. 'step (?P<step>\d+).*loss (?P<loss>\S+)'.",
    ),
    (
        "own.log",
        "it 500 loss 3",
        {"pattern": "it (?P<step>.*)", "format": "llmc"},
        "format must be left out where a pattern is given; got 'llmc'. Give one of them.",
    ),
    (
        "own.log",
        "iter 5: loss 3",
        {"step": "epoch"},
        "step must be left out with the format nanogpt; got 'epoch'. Its lines say their steps; another clock needs a pattern.",
    ),
    ("own.log", "iter 5: loss 3", {"part": 2}, "part must be 1 where a run goes straight on; got 2 in own.log. Leave it out."),
    (
        "out.log",
        "{'loss': 2.5, 'epoch': 0.1}",
        {},
        "out.log must have a column of steps; got 'loss', 'epoch'. The Hugging Face Trainer prints epochs alone; its steps are "
        "in trainer_state.json in the output folder. Give that, or count epochs with step='epoch', --step epoch on the command "
        "line.",
    ),
    (
        "a.log",
        "iter 0: loss 4.2",
        {"format": "pickle"},
        f"format must be one of {', '.join(map(repr, FORMATS))}; got 'pickle'. "
        "Leave it out to have it recognised by the content.",
    ),
    (
        "a.log",
        "iter 0: loss 4.2",
        {"format": "llmc"},
        "a.log must hold losses in the format llmc; got none. Check the format and the log.",
    ),
    (
        "a.log",
        "iter 0: loss 4.2",
        {"unit": "dits"},
        "unit must be one of 'nats', 'bits', 'perplexity'; got 'dits'. Convert the losses to one of these.",
    ),
    (
        "a.log",
        "iter 0: loss 4.2",
        {"split": "dev"},
        "split must be one of 'train'; got 'dev'. Leave it out, or choose a metric of 'loss'.",
    ),
    (
        "a.log",
        "iter 0: loss 4.2",
        {"split": "eval"},
        "split must be one of 'train'; got 'eval'. Leave it out, or choose a metric of 'loss'.",
    ),
    ("a.log", "iter 0: loss nan", {}, "loss must be finite somewhere; got nan in a.log. Check the log."),
    (
        "a.log",
        "iter 0: loss 0.5",
        {"unit": "perplexity"},
        "perplexity must be at least 1; got 0.5 at step=0 of a.log. Give the unit that the log has.",
    ),
    (
        "a.csv",
        "step,a/loss,b/loss\n1,5,6\n",
        {},
        f"metric must be given where several may be the loss; got '2 of them' ('a/loss', 'b/loss' in a.csv). {BY_NAME}",
    ),
    (
        "a.csv",
        "step,val_loss,loss\n1,5,6\n",
        {"metric": "eval_loss"},
        "metric must be one of 'loss', 'val_loss'; got 'eval_loss'. Choose one of these of a.csv.",
    ),
    (
        "a.csv",
        "step,val_loss,loss\n1,5,6\n",
        {"metric": "loss", "split": "eval"},
        "metric must be one of 'val_loss'; got 'loss'. Choose one of these of a.csv.",
    ),
    (
        "a.csv",
        "Relative Time (Process),a - loss\n1,5\n",
        {},
        "a.csv must have a column of steps; got 'Relative Time (Process)', 'a - loss'. "
        "Set the x axis of the chart to Step. Call it 'step', '_step' or 'global_step', or name it with step=..., --step on "
        "the command line.",
    ),
    (
        "a.csv",
        "Step,a - loss__MIN\n1,5\n",
        {},
        "a.csv must have a column of losses; got 'Step', 'a - loss__MIN'. Export the loss as well.",
    ),
    (
        "a.csv",
        "Step,a - loss,a - loss\n1,5,6\n",
        {},
        "a.csv must have each column once; got 'a - loss' more than once. Rename or remove one.",
    ),
    ("a.csv", "Step,a - loss\n1,5\n", {"run": "b"}, "run must be one of 'a'; got 'b'. Choose one of these."),
    (
        "a.csv",
        "Step,a - loss\n1,5\n\n2,oops\n",
        {"split": "train"},
        f"loss must be a number; got 'oops' at run='a', test_set='train', step=2 (line 4 of a.csv). {CORRECT}",
    ),
    (
        "a.csv",
        "Step,a - loss\n1,5\n,4\n",
        {"split": "train"},
        f"step must be finite and not negative; got nan at run='a', test_set='train' (line 3 of a.csv). {CORRECT}",
    ),
    ("a.csv", "Step,a - loss\n", {}, "a.csv must hold losses in the format wandb-csv; got none. Check the format and the log."),
    (
        "a.csv",
        "step,value\n1,5\n",
        {"format": "table"},
        "a.csv must have columns step and loss; got 'step', 'value'. Add 'loss'.",
    ),
    (
        "a.jsonl",
        HEAD + '{"_step": 2, "eval/lo\n',
        {},
        'line 2 of a.jsonl must be a JSON object; got \'{"_step": 2, "eval/lo\'. Correct it, or export it again.',
    ),
    ("a.jsonl", HEAD + "[1, 2]", {}, "line 2 of a.jsonl must be a JSON object; got '[1, 2]'. Correct it, or export it again."),
    (
        "a.jsonl",
        HEAD + '{"_step": 2, "eval/loss": "low"}',
        {},
        f"loss must be a number; got 'low' at run='run', test_set='test', step=2 (line 2 of a.jsonl). {CORRECT}",
    ),
    (
        "a.json",
        '{"log_history": {}, "epoch": 1}',
        {},
        "a.json must have a list of rows log_history; got 'epoch', 'log_history'. Give a trainer_state.json.",
    ),
    (
        "a.json",
        '{"log_history": [{"loss": 5.0, "step": 1}',
        {},
        'a.json must be a JSON object; got \'{"log_history": [{"loss": 5.0, "step": 1}\'. Correct it, or export it again.',
    ),
    (
        "a.json",
        '{"log_history": [{"eval_loss": 5.0, "step": -1}]}',
        {},
        f"step must be finite and not negative; got -1 at run='run', test_set='test' (row 1 of a.json). {CORRECT}",
    ),
]


@pytest.mark.parametrize(("name", "content", "options", "message"), BAD)
@pytest.mark.filterwarnings("ignore::bayes_tsl.Notice")
def test_what_is_wrong_is_one_line(name: str, content: str, options: dict[str, str], message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with refusal(message):
        bt.read_log(tmp_path / name, **options)


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "train.log"
    for options in ({}, {"format": "nanogpt"}):
        with refusal(f"file must exist; got '{missing}'. Check the path."):
            bt.read_log(missing, **options)
    with refusal(f"folder must hold event files of TensorBoard; got '{tmp_path}'. Name the log itself."):
        bt.read_log(tmp_path)


def test_event_files_need_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "events.out.tfevents.1").write_bytes(b"\x18" + bytes(20) + b"\x1a\x0dbrain.Event:2")
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setitem(sys.modules, "tensorboard.backend.event_processing", None)
    with refusal(
        "tensorboard must be installed to read events.out.tfevents.1; got no such package. "
        "Run pip install 'bayes_tsl[tensorboard]'."
    ):
        bt.read_log(tmp_path / "events.out.tfevents.1")


def test_a_wandb_file_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run-1.wandb").write_bytes(b":W&B\xe1\xbe\x00")
    monkeypatch.setitem(sys.modules, "wandb.proto.wandb_internal_pb2", None)
    with refusal(
        "wandb must be installed to read run-1.wandb; got no such package. "
        "Run pip install wandb, or export the run's history from its page as csv."
    ):
        bt.read_log(tmp_path / "run-1.wandb")


def test_records_of_a_wandb_file_are_put_together() -> None:
    whole, long = b"a" * 100, b"b" * 50_000
    room = 32768 - 7 - (7 + len(whole)) - 7  # of the first block, after its header and a record
    pieces = [(1, whole), (2, long[:room]), (4, long[room:]), (1, whole)]
    content = b":W&B\xe1\xbe\x00" + b"".join(struct.pack("<IHB", 0, len(piece), place) + piece for place, piece in pieces)
    assert list(_records(content)) == [whole, long, whole]
    assert list(_records(content[:-1])) == [whole, long]


@pytest.mark.skipif(NO_TENSORBOARD, reason="the extra tensorboard is not installed")
def test_event_files(tmp_path: Path) -> None:
    write_events(tmp_path, ".1", [(0, 10.5), (100, 6.5), (200, 5.75), (300, NAN)], as_tensors=False)
    write_events(tmp_path, ".2", [(200, 5.5), (400, 5.25)], as_tensors=False)  # resumed from step 100
    name = tmp_path.name
    table = read(tmp_path)
    assert table.mean_losses().to_dict() == {0: 10.5, 100: 6.5, 200: 5.5, 400: 5.25}
    assert plainly(table.notices) == [again(1, name), LOST(name)]
    assert table.frame["lr"].tolist() == [0.5, 0.5, 0.5, 0.5]
    first = next(path for path in tmp_path.iterdir() if path.name.endswith(".1"))
    assert recognise(first) == recognise(tmp_path) == "tensorboard"
    assert read(first).mean_losses().to_dict() == {0: 10.5, 100: 6.5, 200: 5.75}
    assert read(first, split="train").mean_losses().to_dict() == {0: 11.5, 100: 7.5, 200: 6.75}
    write_events(tmp_path / "tensors", "", [(0, 10.5), (100, 6.5)], as_tensors=True)
    assert read(tmp_path / "tensors").mean_losses().to_dict() == {0: 10.5, 100: 6.5}


def write_events(folder: Path, suffix: str, losses: list[tuple[int, float]], *, as_tensors: bool) -> None:
    """Event files as programs write them, through the library's own writer."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
    from tensorboard.util.tensor_util import make_tensor_proto

    folder.mkdir(exist_ok=True)
    writer = EventFileWriter(str(folder), filename_suffix=suffix)
    for step, loss in losses:
        for tag, value in (("eval/loss", loss), ("train/loss", loss + 1), ("train/lr", 0.5)):
            number = {"tensor": make_tensor_proto(value)} if as_tensors else {"simple_value": value}
            summary = Summary(value=[Summary.Value(tag=tag, **number)])
            writer.add_event(Event(wall_time=1.7e9 + step, step=step, summary=summary))
    writer.close()


def convert(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["convert", *map(str, arguments)])
    return int(str(stop.value.code))


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_a_log_is_converted_on_the_command_line(ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / f"losses{ending}"
    assert convert(LOGS / "nanogpt.log", "--run", "001", "--unit", "bits", "--out", out) == 0
    said = capsys.readouterr()
    assert said.out == f"wrote {out}: 2 rows, 1 runs, steps 0 to 250, format nanogpt, 3 notices\n"
    assert said.err.splitlines() == [
        f"note: {one}" for one in (fell(*NANOGPT, 2), LOST("nanogpt.log"), f"{ONLY_2('nanogpt.log')}{TRAIN_4}")
    ]
    table = bt.read_losses(out)
    assert table.runs == ["001"]
    np.testing.assert_array_equal(table.mean_losses(), math.log(2) * np.array([4.2823, 2.0674]))
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_a_console_of_ones_own_is_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.log").write_text("".join(f"[it {at}] L={4 - at / 100}\n" for at in range(0, 100, 10)))
    out, pattern = tmp_path / "losses.csv", r"it (?P<step>\d+)\] L=(?P<val_loss>\S+)"
    assert convert(tmp_path / "own.log", "--pattern", pattern, "--out", out) == 0
    assert capsys.readouterr().out == f"wrote {out}: 10 rows, 1 runs, steps 0 to 90, format pattern, 0 notices\n"
    (tmp_path / "n.txt").write_text("n val_loss\n10 3.5\n20 2.5\n")
    assert convert(tmp_path / "n.txt", "--step", "n", "--out", out) == 0
    assert bt.read_losses(out).mean_losses().to_dict() == {10: 3.5, 20: 2.5}


def test_a_converted_table_has_no_blank_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(LOGS / "trainer_state.json", "--split", "train", "--out", tmp_path / "new" / "losses.csv") == 0
    assert capsys.readouterr().err == f"note: {LOST('trainer_state.json')}\nnote: {ONLY_2('trainer_state.json')}\n"
    lines = (tmp_path / "new" / "losses.csv").read_text().splitlines()
    assert lines[:2] == ["run,test_set,step,loss,tokens,lr", "run,train,250.0,6.8423,8192000.0,0.0003"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{0}/gone.log", "--out", "{0}/a.csv"], "file must exist; got '{0}/gone.log'. Check the path."),
        (
            ["{0}/train.log", "--out", "{0}/a.txt"],
            "--out must end in one of '.csv', '.csv.gz', '.parquet'; got 'a.txt'. The ending says how to write it.",
        ),
        (["{0}/l.csv", "--out", "{0}/l.csv"], "--out must be another file than LOG; got '{0}/l.csv'. Choose another name."),
        (
            ["{0}/train.log", "--out", "{0}/d.csv"],
            "--out must be a file; got '{0}/d.csv' which is a folder. Choose another name.",
        ),
        (
            ["{0}/train.log", "--out", "{0}/train.log/a.csv"],
            "--out must be a folder; got '{0}/train.log' which is a file. Choose another folder.",
        ),
        (
            ["{0}/train.log", "--metric", "bpb", "--out", "{0}/a.csv"],
            "metric must be one of 'loss', 'train estimate', 'val loss'; got 'bpb'. Choose one of these of train.log.",
        ),
    ],
)
def test_what_cannot_be_converted(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(LOGS / "nanogpt.log", tmp_path / "train.log")
    shutil.copy(LOGS / "losses.csv", tmp_path / "l.csv")
    (tmp_path / "d.csv").mkdir()
    before = sorted(tmp_path.iterdir())
    assert convert(*[argument.format(tmp_path) for argument in arguments]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"error: {message.format(tmp_path)}\n")
    assert sorted(tmp_path.iterdir()) == before


def test_help_of_convert_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert convert("--help") == 0
    assert "bayes-tsl convert train.log --out losses.csv" in capsys.readouterr().out
