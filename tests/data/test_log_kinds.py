"""One log of each kind that programs leave, with the right answer: losses, runs, test sets, learning rate, and what is said."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import bayes_tsl as bt

KINDS = Path(__file__).parent / "logs" / "kinds"
CURVE = (7.2881, 4.2984)  # a validation loss from step 100 to 2000
EVALS = (5.3449, 4.2984)  # from step 500, every 500
TRAIN = (7.2681, 4.2784)


class Right(NamedTuple):
    """What reading must give.

    Attributes:
        steps: first, last and number of steps.
        losses: first and last loss.
        lrs: learning rate at the first and the last step, NaN where it is blank.
        said: parts of notices.
        runs: names.
        sets: names.
    """

    steps: tuple[float, float, int]
    losses: tuple[float, float]
    lrs: tuple[float, float] | None = None
    said: tuple[str, ...] = ()
    runs: tuple[str, ...] = ("run",)
    sets: tuple[str, ...] = ("test",)


FEW, OF_TRAINING = "checkpoints: a forecast from fewer than 10", "has no evaluation losses"
NAN = float("nan")
RIGHT = {
    "accumulation_bug_fixed": Right(
        (100, 4000, 40),
        (116.3651, 3.9433),
        (5e-4, 5.68118e-4),
        ("above 20 nats", "jumps from 68.479 to 4.2539"),
        sets=("train",),
    ),
    "bpb_only": Right((100, 2000, 20), (2.28575, 1.34809), said=("bits per byte",)),
    "build_nanogpt_log": Right((0, 2000, 5), (10.52, 4.2984), said=(FEW, "21 losses 'loss'")),
    "build_nanogpt_stdout": Right((0, 2000, 5), (10.52, 4.2984), (0.0, 1e-4), (FEW,)),
    "console_forecast_on_log": Right((0, 2000, 9), (10.52, 4.2984), said=(FEW,)),
    "counter_reset_after_resume": Right((100, 2000, 20), CURVE, said=("at line 21 the step fell from 2000 to 100", "went on")),
    "csv_semicolon": Right((100, 2000, 20), CURVE),
    "fairseq_log": Right((500, 2000, 4), (7.711 * np.log(2), 6.201 * np.log(2)), (9.05113e-4, 1e-4), ("in bits", FEW)),
    "few_evals_many_train": Right((1000, 2000, 2), (4.7811, 4.32836), (1e-3, 1e-3), ("only 2", "40 losses", "--split train")),
    "json_array_of_rows": Right((0, 2000, 21), (10.52, 4.2984), (0.0, 1e-4)),
    "json_of_lists": Right((0, 2000, 5), (10.52, 4.2984), said=(FEW,)),
    "keras_csvlogger": Right((0, 19, 20), CURVE, (0.0, 1.06137e-4), ("counts epochs (epoch)",)),
    "lightning_val": Right((500, 2000, 4), EVALS, (9.0027e-4, NAN), (FEW,)),
    "lingua_metrics": Right((100, 2000, 20), TRAIN, (1e-3, 1e-4), (OF_TRAINING,), sets=("train",)),
    "llama2c_stdout": Right((0, 2000, 5), (10.52, 4.2984), (0.0, 1e-4), (FEW,)),
    "llmfoundry_console": Right((500, 2000, 4), EVALS, said=(FEW,)),
    "lr_between_evals_hf": Right((400, 2000, 5), (5.56938, 4.29836), (9.86213e-4, NAN), (FEW,)),
    "lr_column_short_of_end": Right((100, 4000, 40), (7.2675, 3.9423), (5e-4, NAN)),
    "maxtext_stdout": Right((500, 2000, 4), (5.345, 4.298), said=(FEW,)),
    "megatron_stdout": Right((500, 2000, 4), EVALS, (9.051132e-4, 1e-4), (FEW,)),
    "mlflow_metric": Right((100, 2000, 20), CURVE),
    "nanochat_stdout": Right((0, 2000, 5), (3.2994, 1.3481), (1.0, 0.0), ("the step fell from 2000 to 0", "bits per byte")),
    "neox_stdout": Right((500, 2000, 4), EVALS, (9.051e-4, 1e-4), (FEW,)),
    "nested_json": Right((100, 2000, 20), CURVE),
    "olmo_console": Right((100, 2000, 20), TRAIN, said=(OF_TRAINING,), sets=("train",)),
    "overfitting": Right(
        (100, 2000, 20), (1.6352, 1.3573), said=("has risen since step 1200, from 1.2085 to 1.3573", "fine-tuning")
    ),
    "rewound_after_spike": Right(
        (100, 3500, 35), (7.2732, 3.9922), (5e-4, 6.57692e-4), ("at line 51 the step fell from 5000 to 3100", "20 rows")
    ),
    "runs_by_model_column": Right((0, 2000, 11), (11.5, 4.2784), said=("column model names the runs",), runs=("bpe", "char")),
    "runs_by_run_name": Right((100, 2000, 20), (7.28806, 5.2511), said=("column run_name",), runs=("base", "wide")),
    "several_eval_sets_hf": Right((500, 2000, 4), (5.24494, 4.29836), (9.05113e-4, 1e-4), sets=("books", "code", "web")),
    "several_eval_sets_olmo": Right(
        (100, 2000, 20), (7.2881, 4.9984), (1e-3, 1e-4), sets=tuple(f"{letter}-validation" for letter in "abcdefgh")
    ),
    "swift_logging_jsonl": Right((100, 2000, 20), TRAIN, (1e-3, 1e-4), (OF_TRAINING,), sets=("train",)),
    "table_named_txt": Right((100, 2000, 20), CURVE),
    "tensorboard_csv": Right((100, 2000, 20), CURVE),
    "three_points": Right((1000, 3000, 3), (4.9, 4.3), said=("only 3", FEW)),
    "torchtitan_stdout": Right((100, 2000, 20), TRAIN, said=(OF_TRAINING,), sets=("train",)),
    "torchtune_log": Right((100, 2000, 20), TRAIN, (1e-3, 1e-4), (OF_TRAINING,), sets=("train",)),
    "train_loss_step_and_epoch": Right((100, 2000, 20), TRAIN, (1e-3, 1e-4), (OF_TRAINING,), sets=("train",)),
    "two_runs_appended": Right((0, 1000, 11), (10.52, 4.2511), said=("at line 43 the step fell from 2000 to 0: another run",)),
    "wandb_csv_group": Right((100, 2000, 20), CURVE, said=("mean over the runs of a group",), runs=("Group: small",)),
    "wandb_csv_tokens_axis": Right((52428800, 1048576000, 20), CURVE, said=("counts tokens (train/tokens)",), runs=("base",)),
}
REFUSED = {
    "hf_stdout": "its steps are in trainer_state.json in the output folder",
    "wandb_runs_table": "must be a table of steps, not of runs",
}


def log_of(kind: str) -> Path:
    return next(path for path in (KINDS / kind).iterdir())


def check(kind: str) -> None:
    """Raise unless a log is read rightly, or refused for what it is."""
    if kind in REFUSED:
        with pytest.raises(bt.DataError, match=REFUSED[kind]):
            bt.read_log(log_of(kind))
        return
    right = RIGHT[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bt.Notice)
        table = bt.read_log(log_of(kind))
    frame, steps = table.frame, table.steps
    assert (steps[0], steps[-1], len(steps)) == right.steps
    assert (tuple(table.runs), tuple(table.test_sets)) == (right.runs, right.sets)
    np.testing.assert_allclose(frame["loss"].iloc[[0, -1]], right.losses, rtol=1e-5)
    np.testing.assert_allclose(frame["lr"].iloc[[0, -1]], right.lrs or (NAN, NAN), rtol=1e-5)
    for part in right.said:
        assert part in " ".join(table.notices)
    if not right.said:
        assert not [notice for notice in table.notices if "only" not in notice and "is a test set" not in notice]


@pytest.mark.parametrize("kind", [*RIGHT, *REFUSED])
def test_each_kind_of_log_is_read_rightly_or_refused_for_what_it_is(kind: str) -> None:
    check(kind)


def test_every_kind_has_its_answer() -> None:
    assert {path.name for path in KINDS.iterdir()} == {*RIGHT, *REFUSED}


def test_an_epoch_is_a_clock_where_asked_for() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bt.Notice)
        table = bt.read_log(log_of("hf_stdout"), step="epoch")
    assert table.mean_losses().to_dict() == {0.5: 5.3449, 1.0: 4.7511, 1.5: 4.4708, 2.0: 4.2984}


def wrong() -> list[str]:
    """Kinds that are not read rightly."""
    found = []
    for kind in (*RIGHT, *REFUSED):
        try:
            check(kind)
        except (AssertionError, bt.DataError):
            found.append(kind)
    return found


if __name__ == "__main__":
    print(f"{len(RIGHT) + len(REFUSED) - len(wrong())} of {len(RIGHT) + len(REFUSED)} right; wrong: {wrong() or 'none'}")
