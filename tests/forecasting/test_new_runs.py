"""Loss curves of runs that have not begun."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
from tests.conftest import refusal
from tests.finished_runs import scaling_law

PLAN = bt.schedules.cosine(peak=1e-3, warmup=500, total=20_000, final=1e-4)
KNOWN = {"parameters": 4e8, "batch_tokens": 5e5}


def test_a_curve_ends_where_the_scaling_law_has_it(scaling: bt.ScalingFit) -> None:
    ahead = bt.forecast_new(scaling, schedule=PLAN, **KNOWN)
    end = float(ahead.expected[..., -1].mean())
    assert ahead.steps[-1] == 20_000
    assert end == pytest.approx(scaling_law(4e8, 1e10), abs=0.02)
    mean, width = ahead.expected.mean(("chain", "draw")), ahead.expected.std(("chain", "draw"))
    assert np.all(np.diff(mean) < 0)
    assert float(width[10]) > 2.0 * float(width[-1])
    assert ahead.history.size == 0
    pd.testing.assert_frame_equal(bt.forecast_new(scaling, schedule=PLAN, **KNOWN).to_frame(), ahead.to_frame())


def test_a_rate_that_does_not_decay_leaves_excess_loss(scaling: bt.ScalingFit) -> None:
    held = bt.schedules.constant(peak=1e-3, warmup=500, total=20_000)
    ends = [float(bt.forecast_new(scaling, schedule=plan, steps=[20_000], **KNOWN).expected.mean()) for plan in (PLAN, held)]
    assert 0.05 < ends[1] - ends[0] < 0.5


def test_notices_name_what_lies_beyond_the_runs(scaling: bt.ScalingFit) -> None:
    ahead = bt.forecast_new(scaling, schedule=PLAN, parameters=8e9, batch_tokens=5e5, steps=[20_000], run="8B")
    assert ahead.run == "8B"
    assert "90% intervals covered 59 to 100% of the curves" in ahead.notices[0]
    assert "8e+09 parameters lie outside the runs of the scaling law (1e+08 to 8e+08)." in ahead.notices


def test_what_cannot_be_forecast_is_refused(scaling: bt.ScalingFit) -> None:
    with refusal("schedule must have a last step; got inf. Give its total=..."):
        bt.forecast_new(scaling, schedule=bt.schedules.constant(peak=1e-3), **KNOWN)
    rule = "steps must lie between 1000 (twice the warm-up) and the end of the schedule, 20000"
    with refusal(f"{rule}; got 500, 30000."):
        bt.forecast_new(scaling, schedule=PLAN, steps=[500, 2000, 30_000], **KNOWN)
    with refusal("scaling must be a ScalingFit; got 'dict'. Make one with fit_scaling(runs)."):
        bt.forecast_new({}, schedule=PLAN, **KNOWN)  # type: ignore[arg-type]
