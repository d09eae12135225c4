"""The mean over the test sets of a run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
from bayes_tsl.data.several_test_sets import over_test_sets
from tests.conftest import refusal


def table(**columns: object) -> bt.LossTable:
    rows = pd.MultiIndex.from_product([["code", "prose"], [100, 200, 300]], names=["test_set", "step"]).to_frame(index=False)
    frame = rows.assign(loss=[3.0, 2.0, 1.5, 5.0, 4.5, 4.4], **columns)
    return bt.LossTable.from_frame(frame)


def test_mean_counts_every_set_the_same():
    made = over_test_sets(table(tokens=[1e5, 2e5, 3e5] * 2, lr=1e-3, loss_se=[0.03, 0.03, 0.03, 0.04, 0.04, 0.04]))
    assert made.test_sets == ["mean of code, prose"]
    assert made.mean_losses().to_dict() == {100.0: 4.0, 200.0: 3.25, 300.0: 2.95}
    assert made.frame["tokens"].tolist() == [1e5, 2e5, 3e5]
    np.testing.assert_allclose(made.frame["loss_se"], 0.025)
    assert made.frame["lr"].tolist() == [1e-3] * 3


def test_mean_of_one_set_is_the_table_itself():
    losses = table().select(test_set="code")
    assert over_test_sets(losses) is losses


def test_many_sets_are_counted_in_the_name():
    frame = pd.concat([table().frame.assign(test_set=f"{name}") for name in range(5)]).drop_duplicates(["test_set", "step"])
    assert over_test_sets(bt.LossTable.from_frame(frame)).test_sets == ["mean of 5 test sets"]


def test_checkpoints_that_lack_a_set_are_left_out_aloud():
    losses = bt.LossTable.from_frame(table().frame.drop(index=4))
    made = over_test_sets(losses)
    assert made.steps.tolist() == [100.0, 300.0]
    assert made.notices == ("1 of 3 checkpoints of run 'run' lack a test set and are left out.",)


def test_positions_that_lack_a_set_are_left_out():
    frame = pd.concat([table().frame.assign(position=position) for position in range(3)])
    frame = frame[~((frame["position"] == 2) & (frame["test_set"] == "code"))]
    made = over_test_sets(bt.LossTable.from_frame(frame))
    assert sorted(made.frame["position"].unique()) == [0.0, 1.0]
    assert made.steps.tolist() == [100.0, 200.0, 300.0]
    assert made.notices == ()


def test_averaged_weights_are_averaged_over_sets_too():
    frame = pd.concat([table().frame.assign(averaged=0), table().frame.assign(averaged=50)])
    frame.loc[frame["averaged"] == 50, "loss"] -= 0.5
    made = over_test_sets(bt.LossTable.from_frame(frame))
    assert made.averaged[50.0].mean_losses().to_dict() == {100.0: 3.5, 200.0: 2.75, 300.0: 2.45}


def test_a_run_that_lacks_a_set_is_named():
    frame = pd.concat([table().frame, table().frame.query("test_set == 'code'").assign(run="other")])
    message = "run 'other' must be measured on every test set; got 'prose' without losses. "
    with refusal(message + "Choose test sets with losses.select(test_set=...)."):
        over_test_sets(bt.LossTable.from_frame(frame))


def test_sets_without_a_common_checkpoint_are_refused():
    frame = table().frame
    frame.loc[frame["test_set"] == "code", "step"] += 50
    message = "run 'run' must have checkpoints measured on every test set; got 'none'. "
    with refusal(message + "Choose test sets with losses.select(test_set=...)."):
        over_test_sets(bt.LossTable.from_frame(frame))


def test_several_sets_are_selected_by_name():
    frame = pd.concat([table().frame, table().frame.query("test_set == 'code'").assign(test_set="web")])
    assert bt.LossTable.from_frame(frame).select(test_set=["code", "web"]).test_sets == ["code", "web"]
    with pytest.raises(bt.DataError, match="test_set must be one of"):
        table().select(test_set=["code", "nowhere"])
