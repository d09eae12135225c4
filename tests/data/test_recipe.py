"""What is known of a run beside its schedule: numbers, ramps, a column of tokens, and repeated data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
from bayes_tsl.data.recipe import Recipe, make_recipe
from tests.conftest import refusal

RAMP = {0: 1e5, 1000: 1e5, 1001: 4e5, 4000: 4e5}
PLAN = bt.schedules.constant(peak=1e-3, total=4000)


def losses(tokens: object) -> bt.LossTable:
    step = np.arange(100.0, 1100.0, 100.0)
    return bt.LossTable.from_frame(pd.DataFrame({"step": step, "loss": 5.0 - 0.1 * np.log(step), "tokens": tokens}))


def test_a_ramp_is_a_falling_learning_rate() -> None:
    effective = make_recipe(batch_tokens=RAMP).effective(PLAN)
    assert effective.lr([500, 2000]) == pytest.approx([2e-3, 1e-3])
    assert effective.progress(4000) == pytest.approx(5000.0, abs=1.0), "the first thousand steps count twice"
    assert (effective.peak, effective.end, effective.warmup) == (PLAN.peak, PLAN.end, PLAN.warmup)


def test_one_batch_changes_nothing() -> None:
    effective = make_recipe(batch_tokens={0: 1e5, 4000: 1e5}).effective(PLAN)
    np.testing.assert_array_equal(effective.progress([10, 4000]), PLAN.progress([10, 4000]))


def test_a_ramp_is_a_table_too() -> None:
    table = pd.DataFrame({"step": list(RAMP), "batch_tokens": list(RAMP.values())})
    assert make_recipe(batch_tokens=table) == make_recipe(batch_tokens=RAMP)


def test_tokens_and_epochs_add_up() -> None:
    recipe = make_recipe(batch_tokens=RAMP, unique_tokens=2e8)
    assert recipe.tokens(2000) == pytest.approx(1e8 + 2.5e5 + 999 * 4e5)
    assert recipe.tokens(recipe.first_epoch) == pytest.approx(2e8, rel=1e-4)
    assert recipe.epochs(2000) == pytest.approx(recipe.tokens(2000) / 2e8)
    assert make_recipe(batch_tokens=1e5, unique_tokens=1e9).first_epoch == 10_000.0


def test_repeated_data_teach_less() -> None:
    plan = make_recipe(batch_tokens=1e5, unique_tokens=1e8).effective(PLAN)
    assert plan.learning([500, 1000]) == pytest.approx([500.0, 1000.0])
    assert plan.learning(4000) == pytest.approx(1000.0 + 15_400.0 * (1.0 - np.exp(-3.0 / 15.4)), rel=1e-5)
    assert plan.progress(4000) == 4000.0, "the learning-rate response goes on as before"


@pytest.mark.parametrize(
    ("tokens", "batch"),
    [
        (np.arange(100.0, 1100.0, 100.0) * 5e5, 5e5),
        (np.arange(100.0, 1100.0, 100.0), None),
        (np.cumsum(np.linspace(1e7, 5e7, 10)), None),
        (np.nan, None),
    ],
    ids=["steady", "steps in tokens", "ramp", "none"],
)
def test_the_batch_is_read_off_a_column_of_tokens(tokens: object, batch: float | None) -> None:
    assert make_recipe(losses=losses(tokens)).batch_tokens == batch
    assert make_recipe(batch_tokens=7.0, losses=losses(tokens)).batch_tokens == 7.0, "what is given counts"


def test_a_recipe_is_kept_as_text() -> None:
    recipe = make_recipe(batch_tokens=RAMP, parameters=1e8, optimizer="muon", unique_tokens=1e9)
    assert Recipe.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch_tokens": 0}, "batch_tokens must be a number above 0; got 0. Give the tokens of one step, e.g. 524288."),
        (
            {"batch_tokens": "many"},
            "batch_tokens must be a number above 0; got 'many'. Give the tokens of one step, e.g. 524288.",
        ),
        ({"batch_tokens": np.inf}, "batch_tokens must be a number above 0; got inf. Give the tokens of one step, e.g. 524288."),
        ({"parameters": -1e8}, "parameters must be a number above 0; got -100000000. Give a count, e.g. 1.2e8."),
        ({"unique_tokens": 1e9}, "unique_tokens must come with batch_tokens; got 1000000000. Give the tokens of a step, too."),
        (
            {"optimizer": "rmsprop"},
            "optimizer must be one of 'adamw', 'adam', 'adafactor', 'lion', 'muon', 'sgd', 'shampoo', 'soap', 'sophia'; "
            "got 'rmsprop'. Leave it out for any other.",
        ),
        (
            {"batch_tokens": {0: 1e5, 100: -1.0}},
            "batch_tokens must hold positive numbers; got '100, -1.0' in step, batch_tokens. Correct these rows.",
        ),
        ({"batch_tokens": {}}, "batch_tokens must have at least one row; got 0. Give step and batch_tokens."),
        (
            {"batch_tokens": pd.DataFrame({"step": [0, 0], "batch_tokens": [1e5, 2e5]})},
            "batch_tokens must have one row per step; got 0 more than once. Keep one of each.",
        ),
        (
            {"batch_tokens": pd.DataFrame({"step": [0]})},
            "batch_tokens must have columns step and batch_tokens; got 'step'. Add batch_tokens.",
        ),
    ],
)
def test_bad_input_is_refused(given: dict, message: str) -> None:
    with refusal(message):
        make_recipe(**given)


def test_a_ramp_must_cover_the_steps() -> None:
    cure = "Add rows: it is joined by straight lines, from step 0 to the last step."
    with refusal(f"batch_tokens must cover the steps 0 to 4000; got 0, 3000. {cure}"):
        make_recipe(batch_tokens={0: 1e5, 3000: 2e5}).effective(PLAN)
