"""Branches of a run: their drift, their place on its time axis, and what they say of its heat."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
from bayes_tsl.data.branches import Branch, make_branches
from bayes_tsl.model.branches import along_drift, branch_axis
from bayes_tsl.model.checkpoints import MAX_BRANCH_CHECKPOINTS
from bayes_tsl.model.design import PADDING, Design, make_designs, padded
from bayes_tsl.model.drift import covariance, covariance_along
from bayes_tsl.model.lr_response import make_time_axis
from bayes_tsl.model.time_axis import make_anchor
from tests.conftest import refusal

PLAN = bt.schedules.wsd(peak=1e-3, warmup=100, total=8000, final=1e-5, decay=0.2)
SHORT = bt.schedules.linear(peak=1e-3, total=3000, final=1e-5)
SHORTER = bt.schedules.constant(peak=5e-4, total=2600)
PARENTS = {"cooldown": ("main", 2000.0), "dropped": ("cooldown", 2400.0)}
PLANS = {"main": PLAN, "cooldown": SHORT, "dropped": SHORTER}


def table(**more: dict[str, list[float]]) -> bt.LossTable:
    """Losses of the run and of a branch of its branch; other rows by the name of the run."""
    steps = {
        "main": np.arange(200.0, 4001.0, 200.0),
        "cooldown": np.arange(2000.0, 3001.0, 100.0),
        "dropped": np.array([2500.0, 2600.0]),
    }
    frames = [pd.DataFrame({"run": run, "step": at, "loss": 3.0 + 100.0 / at}) for run, at in steps.items()]
    return bt.LossTable.from_frame(pd.concat([*frames, *(pd.DataFrame(rows).assign(run=run) for run, rows in more.items())]))


@pytest.fixture(scope="module")
def branches() -> list[Branch]:
    return make_branches(table(), PARENTS, PLANS)[1]


@pytest.fixture(scope="module")
def design(branches: list[Branch]) -> Design:
    return make_designs(table(), {"main": PLAN}, branches=branches)[0][0]


def test_covariance_is_that_of_the_stochastic_integrals() -> None:
    time, beyond = np.array([[0.3, 1.0, 0.7], [0.0, 0.4, 0.9]]), np.array([[0.0, 0.5, -0.6], [0.0, 0.0, 1.2]])
    middle = (np.arange(20_000) + 0.5) / 20_000
    kernels = np.maximum(time[..., None] - middle, 0.0) + beyond[..., None] * (middle < time[..., None])
    np.testing.assert_allclose(covariance_along(time, beyond), np.einsum("pir,pjr->ij", kernels, kernels) / 20_000, atol=1e-4)


def test_drift_goes_on_from_the_value_and_the_speed_of_the_parent(branches: list[Branch]) -> None:
    anchor = make_anchor(PLAN, 4000.0)
    for number, branch in enumerate(branches):
        near = np.array([branch.step, branch.step + 0.01])
        with_twin = [*branches, Branch("twin", branch.parent, branch.step, branch.schedule)]
        axes = [branch_axis(near, one.schedule, PLAN, anchor) for one in with_twin]
        both = covariance_along(*along_drift(with_twin, axes, PLAN, anchor))
        own, twin = slice(2 * number, 2 * number + 2), slice(-2, None)
        apart = both[own, own] + both[twin, twin] - both[own, twin] - both[twin, own]
        assert np.abs(apart).max() < 1e-12, "twins have one drift where they leave"
        assert both[own, own].min() > 1e-3


def test_a_branch_lies_on_the_time_axis_of_its_run(branches: list[Branch]) -> None:
    anchor, steps = make_anchor(PLAN, 4000.0), np.array([1000.0, 2000.0])
    own, trunk = branch_axis(steps, branches[0].schedule, PLAN, anchor), make_time_axis(steps, PLAN, anchor)
    np.testing.assert_allclose(own.u, trunk.u, atol=1e-12)
    np.testing.assert_allclose(own.lag, trunk.lag, atol=1e-3)
    assert own.end == trunk.end
    later = branch_axis(np.array([3000.0]), branches[0].schedule, PLAN, anchor).u
    assert later < make_time_axis([3000.0], PLAN, anchor).u, "a falling learning rate makes less progress"


def test_rows_of_branches_follow_those_of_the_run(design: Design) -> None:
    rows, whole = design.branches, padded(design)
    assert rows is not None
    assert list(rows.run) == ["cooldown"] * 10 + ["dropped"] * 2, "since they left"
    ends = len(design.step) + len(rows.step)
    np.testing.assert_array_equal(whole.step[:ends], [*design.step, *rows.step])
    assert len(whole.step) % PADDING == 0
    assert whole.branches is None
    steps = len(design.step)
    np.testing.assert_allclose(whole.drift[:steps, :steps], covariance(design.axis.u[:-1]))
    assert (np.linalg.eigvalsh(whole.drift) > -1e-9).all()
    assert (whole.drift[steps:ends, :steps] > 0).any(), "they share a history"
    assert whole.axis.u[-1] == 0.0


def test_many_checkpoints_of_a_branch_are_averaged() -> None:
    many = np.arange(2010.0, 3000.0, 10.0)
    losses = table(cooldown={"step": list(many[many % 100 != 0]), "loss": [3.0] * int(np.sum(many % 100 != 0))})
    one = make_branches(losses.select(run=["main", "cooldown"]), {"cooldown": PARENTS["cooldown"]}, PLANS)[1]
    [design], notices = make_designs(losses, {"main": PLAN}, branches=one)
    assert "100 checkpoints of branch 'cooldown' are averaged to 16, evenly in log progress." in notices
    rows = design.branches
    assert rows is not None
    assert (len(rows.step), rows.count.sum()) == (MAX_BRANCH_CHECKPOINTS, 100)


@pytest.mark.parametrize(
    ("parents", "message"),
    [
        ({"cooldown": ("base", 2000)}, "parent of branch 'cooldown' must be one of 'cooldown', 'dropped', 'main'; got 'base'."),
        ({"warm": ("main", 2000)}, "branch must be one of 'cooldown', 'dropped', 'main'; got 'warm'. Choose one of these."),
        (
            {"cooldown": ("dropped", 2500), "dropped": ("cooldown", 2400)},
            "branches must lead back to 'main'; got 'cooldown', 'dropped'. Two of these leave each other.",
        ),
        (PARENTS | {"cooldown": ("main", 100)}, "branch 'cooldown' must leave 'main' between steps 200 and 4000; got 100."),
        (
            PARENTS | {"cooldown": ("main", 3000)},
            "branch 'cooldown' must have a checkpoint after step 3000; got 2000, 2100, 2200, 2300, 2400 and 6 more. Leave it "
            "out, or give its evaluations.",
        ),
        (
            {"cooldown": ("main", 2000)},
            "branches must be of one run; got 'dropped', 'main'. Fit one run and its branches at a time; choose the runs with "
            "losses.select(run=[...]).",
        ),
        (PARENTS | {"cooldown": ("main", "2000")}, "step at which 'cooldown' leaves 'main' must be a number above -inf; got"),
    ],
)
def test_what_is_no_branch_is_refused(parents: dict[str, tuple[str, float]], message: str) -> None:
    with pytest.raises(bt.DataError) as raised:
        make_branches(table(), parents, PLANS)
    assert str(raised.value).startswith(message)


def test_a_branch_that_contradicts_its_parent_is_refused() -> None:
    other = table().frame.assign(loss=lambda rows: rows["loss"] + 0.1 * (rows["run"] == "cooldown"))
    with refusal(
        "branch 'cooldown' must have the losses of 'main' until step 2000, within 0.02 nats; got 0.1 between them at step "
        "2000. Is it a branch of another run?"
    ):
        make_branches(bt.LossTable.from_frame(other), PARENTS, PLANS)


def test_a_schedule_that_ends_before_its_branch_is_refused() -> None:
    short = PLANS | {"dropped": bt.schedules.constant(peak=5e-4, total=2550)}
    with pytest.raises(bt.DataError, match=r"^schedule must reach the last forecast step 2600; got 2550\."):
        make_designs(table(), {"main": PLAN}, branches=make_branches(table(), PARENTS, short)[1])


def test_columns_say_who_left_whom() -> None:
    frame = table().frame.assign(parent=None, branch_step=np.nan)
    for run, (parent, step) in PARENTS.items():
        frame.loc[frame["run"] == run, ["parent", "branch_step"]] = [parent, step]
    losses = bt.LossTable.from_frame(frame)
    assert losses.branches == PARENTS
    assert losses.select(run=["main", "cooldown"]).branches == {"cooldown": ("main", 2000.0)}
    assert losses.select(run="cooldown").branches == {}
    with refusal("losses must have both of parent and branch_step; got 'parent'. Add the other, or leave both out."):
        bt.LossTable.from_frame(frame.drop(columns="branch_step"))
    frame.loc[frame.index[frame["run"] == "cooldown"][0], "branch_step"] = 1900.0
    with pytest.raises(bt.DataError, match=r"^run 'cooldown' of losses must have one parent and one branch_step; got "):
        bt.LossTable.from_frame(frame)
