"""Short logs of every format, and of every shape of table and document: which losses, learning rates and tokens they give."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

import bayes_tsl as bt
from bayes_tsl.data.formats import FORMATS
from bayes_tsl.data.logs import recognise
from tests.data.test_log_kinds import REFUSED, RIGHT, log_of

NAN = float("nan")
SHORT = {
    "table": ("step,loss\n10,3.5\n20,2.5\n", {10: 3.5, 20: 2.5}),
    "wandb-csv": ("Step,a - val/loss,a - val/loss__MIN\n10,3.5,3\n20,2.5,2\n", {10: 3.5, 20: 2.5}),
    "tensorboard-csv": ("Wall time,Step,Value\n1.5,10,3.5\n2.5,20,2.5\n", {10: 3.5, 20: 2.5}),
    "wandb-jsonl": ('{"_step": 10, "val": {"loss": 3.5}}\n{"_step": 20, "val": {"loss": 2.5}}\n', {10: 3.5, 20: 2.5}),
    "trainer-state": ('{"log_history": [{"eval_loss": 3.5, "step": 10}, {"train_loss": 9, "step": 20}]}', {10: 3.5}),
    "json": ('[{"step": 10, "val_loss": 3.5}, {"step": 20, "val_loss": 2.5}]', {10: 3.5, 20: 2.5}),
    "mlflow": ("1767000000100 3.5 10\n1767000000200 2.5 20\n", {10: 3.5, 20: 2.5}),
    "nanogpt": ("step 10: train loss 3.1, val loss 3.5\niter 10: loss 3.3, time 1ms\n", {10: 3.5}),
    "llmc": ("val loss 3.5\nstep    1/20 | loss 3.1 (+nanz)| norm 1.0 (+nanz)| lr 8.57e-07 | 3 ms\n", {0: 3.5}),
    "modded-nanogpt": ("step:10/20 val_loss:3.5 train_time:0ms\nstep:20/20 val_loss:2.5 train_time:9ms\n", {10: 3.5, 20: 2.5}),
    "build-nanogpt": ("10 train 3.1\n10 val 3.5\n10 hella 0.25\n20 val 2.5\n", {10: 3.5, 20: 2.5}),
    "nanochat": ("Step 00010 | Validation bpb: 1.5\nstep 00010/00020 (50.00%) | loss: 3.1 | lrm: 1.00 | dt: 1ms\n", {10: 1.5}),
    "rwkv": (
        "0 3.5 33.1 0.00060000 2023-01-01 10:00:00.0 0\n1 2.5 12.2 0.00050000 2023-01-01 10:01:00.0 1\n",
        {0: 3.5, 1: 2.5},
    ),
    "megatron": (
        " iteration 10/ 20 | consumed samples: 2 | learning rate: 1.0E-03 | lm loss: 3.1E+00 |\n"
        " validation loss at iteration 10 on validation set | lm loss value: 3.5E+00 | lm loss PPL: 3.3E+01 |\n",
        {10: 3.5},
    ),
    "fairseq": (
        "2026 | INFO | valid | epoch 001 | valid on 'a' subset | loss 5 | ppl 32 | num_updates 10 | best_loss 5\n",
        {10: 3.465736},
    ),
    "torchtitan": ("step: 10  loss:  3.1  memory: 1\nvalidate step: 10  loss:  3.5  memory: 1\n", {10: 3.5}),
    "olmo": ("INFO\t[step=10/20,epoch=0]\n    train/CrossEntropyLoss=3.1\n    eval/c4/CrossEntropyLoss=3.5\n", {10: 3.5}),
    "maxtext": (
        "completed step: 10, seconds: 1, loss: 3.1\neval metrics after step: 10, loss=3.5, total_weights=1\n",
        {10: 3.5},
    ),
    "torchtune": ("Step 10 | loss:3.1 lr:0.1 \nStep 10 | val_loss:3.5 \n", {10: 3.5}),
    "llm-foundry": ("[batch=10/20]:\n Train loss/train/total: 3.1\n Eval metrics/eval/LanguageCrossEntropy: 3.5\n", {10: 3.5}),
    "mlx-lm": (
        "Iter 10: Val loss 3.5, Val took 1s\nIter 10: Train loss 3.1, Learning Rate 1e-05, Trained Tokens 50, Peak 8\n",
        {10: 3.5},
    ),
    "deepspeed": ("steps: 10 loss: 3.5 iter time (s): 1\n[Rank 0] step=10, skipped=0, lr=[0.1, 0.2], mom=[]\n", {10: 3.5}),
    "hf-stdout": ("{'eval_loss': 3.5, 'step': 10}\n{'eval_loss': 2.5, 'step': 20}\n", {10: 3.5, 20: 2.5}),
}


def read(path: Path, content: str | bytes, **options: Any) -> bt.LossTable:
    """A log of this content, its notices unsaid."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bt.Notice)
        return bt.read_log(path, **options)


@pytest.mark.parametrize("format", SHORT)
def test_every_format_is_recognised_and_read(format: str, tmp_path: Path) -> None:
    text, losses = SHORT[format]
    table = read(tmp_path / "val_loss", text)
    assert recognise(tmp_path / "val_loss") == format
    assert table.mean_losses().round(6).to_dict() == losses
    assert read(tmp_path / "val_loss", text, format=format).frame.equals(table.frame)


def test_every_text_format_has_a_log() -> None:
    assert set(SHORT) == set(FORMATS) - {"tensorboard", "wandb"}
    assert len({recognise(log_of(kind)) for kind in (*RIGHT, *REFUSED)}) > 15


SHAPES = [
    ("step\tval_loss\n10\t3.5\n20\t2.5\n", {}, [3.5, 2.5]),
    ("iter   val_loss\n10     3.5\n20     2.5\n", {}, [3.5, 2.5]),
    ("step;val_loss\n10;3,5\n20;2,5\n", {}, [3.5, 2.5]),
    ("# step val_loss\n10 3.5\n20 2.5\n", {}, [3.5, 2.5]),
    ("# a run\n# step, val_loss\n10, 3.5\n20, 2.5\n", {}, [3.5, 2.5]),
    ("step,val_loss\n10,3.5\n# half way\n15,None\n20,2.5\n", {}, [3.5, 2.5]),
    ("sep=;\nstep;val_loss\n10;3,5\n20;2,5\n", {}, [3.5, 2.5]),
    ("step,tag,value\n10,val/loss,3.5\n10,lr,1\n20,val/loss,2.5\n20,lr,1\n", {}, [3.5, 2.5]),
    ("step|val_loss\n10|3.5\n20|2.5\n", {}, [3.5, 2.5]),
    ("# a run\nstep,val_loss\n10,3.5\n20,2.5\n", {}, [3.5, 2.5]),
    ("step,val_ppl\n10,33.115452\n20,12.182494\n", {}, [3.5, 2.5]),
    ("step,val_loss,val_ppl,val_bpb\n10,3.5,33,1\n20,2.5,12,1\n", {}, [3.5, 2.5]),
    ("step,val_loss,best_val_loss,loss_scale\n10,3.5,3,1\n20,2.5,2,1\n", {}, [3.5, 2.5]),
    ("step,split,loss\n10,train,9\n10,val,3.5\n20,train,8\n20,val,2.5\n", {}, [3.5, 2.5]),
    ("epoch,update,val_loss\n1,10,3.5\n2,20,2.5\n", {}, [3.5, 2.5]),
    ("samples,val_loss\n10,3.5\n20,2.5\n", {}, [3.5, 2.5]),
    ("n,val_loss\n10,3.5\n20,2.5\n", {"step": "n"}, [3.5, 2.5]),
    ('{"step": [10, 20], "val_loss": [3.5, 2.5]}', {}, [3.5, 2.5]),
    ('{"args": {"lr": 1}, "history": [{"step": 10, "val_loss": 3.5}, {"step": 20, "val_loss": 2.5}]}', {}, [3.5, 2.5]),
    ('{"10": {"val_loss": 3.5}, "20": {"val_loss": 2.5}}', {}, [3.5, 2.5]),
    ('{"train": {"step": [10, 20], "loss": [9, 8]}, "val": {"step": [10, 20], "loss": [3.5, 2.5]}}', {}, [3.5, 2.5]),
    ('{"train": [{"step": 10, "loss": 9}], "val": [{"step": 10, "loss": 3.5}, {"step": 20, "loss": 2.5}]}', {}, [3.5, 2.5]),
    ('{"loss": [9, 8], "val_loss": [3.5, 2.5]}', {}, [3.5, 2.5]),
    ('{"current_steps": 10, "total_steps": 20, "eval_loss": 3.5}\n{"current_steps": 20, "eval_loss": 2.5}\n', {}, [3.5, 2.5]),
    ("10:L=3.5,\n20:L=2.5,\n", {"pattern": r"^(?P<step>\d+):L=(?P<loss>\S+)"}, [3.5, 2.5]),
]


@pytest.mark.parametrize(("text", "options", "losses"), SHAPES)
def test_tables_and_documents_of_any_shape(text: str, options: dict[str, str], losses: list[float], tmp_path: Path) -> None:
    table = read(tmp_path / "log.txt", text, **options)
    assert table.frame["loss"].round(6).tolist() == losses
    assert table.runs == ["run"]


@pytest.mark.parametrize(
    "text",
    [
        "step,model,val_loss\n10,a,3.5\n20,a,2.5\n10,b,3\n20,b,2\n",
        "step,optimizer,val_loss\n10,a,3.5\n10,b,3\n20,a,2.5\n20,b,2\n",
        "step,optimizer,split,loss\n10,a,val,3.5\n10,b,val,3\n10,a,train,9\n10,b,train,9\n20,a,val,2.5\n20,b,val,2\n",
        "width,step,val_loss\n1,10,3.5\n1,20,2.5\n2,10,3\n2,20,2\n",
        '{"a": [{"step": 10, "loss": 3.5}, {"step": 20, "loss": 2.5}], "b": [{"step": 10, "loss": 3},{"step": 20, "loss": 2}]}',
        '{"a": {"step": [10, 20], "loss": [3.5, 2.5]}, "b": {"step": [10, 20], "loss": [3, 2]}}',
    ],
)
def test_runs_are_told_apart(text: str, tmp_path: Path) -> None:
    table = read(tmp_path / "log.txt", text)
    assert table.frame[["step", "loss"]].to_numpy().tolist() == [[10, 3.5], [20, 2.5], [10, 3], [20, 2]]
    assert len(table.runs) == 2


def test_a_file_of_another_encoding_or_packed(tmp_path: Path) -> None:
    import gzip

    text, losses = SHORT["modded-nanogpt"]
    for content in (
        text.encode("utf-16"),
        b"\xef\xbb\xbf" + text.encode(),
        text.replace("\n", "\r\n").encode(),
        gzip.compress(text.encode()),
    ):
        assert read(tmp_path / "log.txt", content).mean_losses().to_dict() == losses


def test_the_process_before_a_line_is_no_step(tmp_path: Path) -> None:
    for label in ("0: ", "[rank0]:", "[default3]:"):
        lines = [f"{label}step {at}: train loss 9, val loss {3.5 - at / 100}" for at in range(30)]
        assert read(tmp_path / "train.log", "\n".join([*lines, ""])).steps.tolist() == list(range(30))
    lines = [f"0: [batch={at}/29]:\n0:       Train loss/train/total: {at}.5" for at in range(1, 30)]
    assert read(tmp_path / "train.log", "\n".join([*lines, ""])).mean_losses().to_dict() == {
        at: at + 0.5 for at in range(1, 30)
    }


LOG = "".join(f"step {at}: train loss 9, val loss {{}}\n".format(8 - at / 1000) for at in range(0, 5001, 100))
BACK = "".join(f"step {at}: train loss 9, val loss {7.9 - at / 1000}\n" for at in range(0, 1001, 100))
ON = "".join(f"step {at}: train loss 9, val loss {2.9 - at / 1000}\n" for at in range(0, 1001, 100))
REWOUND = "".join(f"step {at}: train loss 9, val loss {4.95 - (at - 3000) / 1000}\n" for at in range(3100, 3501, 100))


@pytest.mark.parametrize(
    ("text", "part", "last", "loss", "runs"),
    [
        (LOG, None, 5000, 3.0, 1),
        (LOG + REWOUND, None, 3500, 4.45, 1),
        (LOG + BACK, None, 1000, 6.9, 1),
        (LOG + BACK, 1, 5000, 3.0, 1),
        (LOG + BACK, "all", 5000, 6.9, 2),
        (LOG + ON, None, 5000, 3.0, 1),
        (LOG + ON, 2, 1000, 1.9, 1),
        (LOG + ON, "join", 6000, 1.9, 1),
        (LOG + BACK + LOG + ON, None, 5000, 3.0, 1),
    ],
)
def test_history_is_read_as_it_happened(
    text: str, part: int | str | None, last: float, loss: float, runs: int, tmp_path: Path
) -> None:
    table = read(tmp_path / "train.log", text, part=part)
    assert (table.steps[-1], round(float(table.frame["loss"].iloc[-1]), 6), len(table.runs)) == (last, loss, runs)


def test_lines_that_were_pasted_twice_are_no_restart(tmp_path: Path) -> None:
    lines = LOG.splitlines(keepends=True)
    table = read(tmp_path / "train.log", "".join([*lines[:30], *lines[20:]]))
    assert table.mean_losses().to_dict() == read(tmp_path / "train.log", LOG).mean_losses().to_dict()
    assert table.notices == ("train.log: rows that repeat earlier ones, value for value, are left out.",)


def test_many_processes_in_one_file(tmp_path: Path) -> None:
    steps = [step for at in range(0, 3000, 10) for step in (at + 10, at)]
    table = read(tmp_path / "train.log", "".join(f"iter {at}: loss {5 - at / 1000}\n" for at in steps))
    assert table.steps.tolist() == list(range(0, 3010, 10))


def test_a_table_in_no_order_has_no_restarts(tmp_path: Path) -> None:
    rows = [f"{step},{4 - step / 1000}" for step in (900, 100, 500, 300, 700, 200, 800)]
    for order in (rows, sorted(rows, reverse=True)):
        table = read(tmp_path / "val.csv", "\n".join(["step,loss", *order, ""]))
        assert table.steps.tolist() == [100, 200, 300, 500, 700, 800, 900]


def test_what_is_logged_at_other_steps_is_brought_to_the_losses(tmp_path: Path) -> None:
    rows = [f'{{"step": {at}, "lr": {at / 1000}, "total_tokens": {at * 8}}}' for at in (0, 200, 400)]
    rows += [f'{{"step": {at}, "val_loss": 3.0}}' for at in (100, 300, 500)]
    frame = read(tmp_path / "log.jsonl", "\n".join([*sorted(rows, key=lambda row: int(row[9:12].strip(', "'))), ""])).frame
    assert frame["lr"].round(9).fillna(-1).tolist() == [0.1, 0.3, -1]
    assert frame["tokens"].fillna(-1).tolist() == [800, 2400, -1]


@pytest.mark.parametrize(
    "name", ["lr", "learning_rate", "optim/lr", "lr-AdamW", "lr-AdamW/pg1", "optim/learning_rate_group0", "LR"]
)
def test_learning_rates_by_their_names(name: str, tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", f"step,val_loss,{name}\n10,3.5,0.25\n").frame["lr"].tolist() == [0.25]


def test_the_last_line_of_a_log_that_is_being_written(tmp_path: Path) -> None:
    whole = [f"step {at}: train loss 3.1, val loss 3.5172" for at in range(10)]
    for cut, count in (("\n", 10), ("", 10), (None, 9)):
        text = "\n".join(whole) + cut if cut is not None else "\n".join(whole)[:-3]
        table = read(tmp_path / "train.log", text)
        assert len(table.steps) == count
        assert any("cut off" in notice for notice in table.notices) == (count == 9)


@pytest.mark.parametrize(
    ("line", "loss"),
    [
        ("[ep 1 | it 10] my_loss=3.5 grad 2", 3.5),
        ("Epoch 1 step 10 train_loss: 9.2 val_loss: 3.5", 3.5),
        ("  1%|#   | 10/1000 [00:01<00:10, loss=3.5]", 3.5),
        ("update 10, cross entropy: 3.5", 3.5),
    ],
)
def test_a_refusal_says_a_pattern_that_reads_the_log(line: str, loss: float, tmp_path: Path) -> None:
    with pytest.raises(bt.DataError, match="lines that look like losses") as refused:
        read(tmp_path / "own.log", f"{line}\n")
    pattern = str(refused.value).partition("--pattern '")[2].partition("'")[0]
    table = read(tmp_path / "own.log", f"{line}\n", pattern=pattern)
    assert table.mean_losses().to_dict() == {10: loss}


def test_the_page_of_logs_lists_every_format() -> None:
    page = (Path(__file__).parents[2] / "docs" / "logs.md").read_text()
    rows = [f"| `{one.name}` | {one.program} | " for one in FORMATS.values()]
    assert [row for row in rows if row not in page] == []
