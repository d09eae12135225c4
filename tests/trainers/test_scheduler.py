"""The plan that is taken from a scheduler is what this scheduler does, from wherever in the run it is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
from torch.optim import lr_scheduler as lrs  # noqa: E402

from bayes_tsl.live.trainers import from_scheduler  # noqa: E402
from tests.conftest import refusal  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries
TOTAL = 120


def named(name: str, **settings: Any) -> Callable[[Any], Any]:
    return lambda optimizer: transformers.get_scheduler(
        name, optimizer, num_warmup_steps=10, num_training_steps=TOTAL, scheduler_specific_kwargs=settings or None
    )


SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "cosine": named("cosine"),
    "linear": named("linear"),
    "wsd": named("warmup_stable_decay", num_decay_steps=30),
    "constant": named("constant_with_warmup"),
    "restarts": named("cosine_with_restarts", num_cycles=2),
    "inverse root": named("inverse_sqrt"),
    "one cycle": lambda optimizer: lrs.OneCycleLR(optimizer, max_lr=0.01, total_steps=TOTAL),
    "annealing": lambda optimizer: lrs.CosineAnnealingLR(optimizer, TOTAL, eta_min=1e-4),
    "warm restarts": lambda optimizer: lrs.CosineAnnealingWarmRestarts(optimizer, 20, T_mult=2),
    "steps": lambda optimizer: lrs.StepLR(optimizer, 30),
    "exponential": lambda optimizer: lrs.ExponentialLR(optimizer, 0.98),
    "polynomial": lambda optimizer: lrs.PolynomialLR(optimizer, TOTAL, power=2.0),
    "cyclic": lambda optimizer: lrs.CyclicLR(optimizer, 1e-4, 1e-2, step_size_up=25, cycle_momentum=False),
    "one after the other": lambda optimizer: lrs.SequentialLR(
        optimizer, [lrs.LinearLR(optimizer, 0.1, total_iters=10), lrs.CosineAnnealingLR(optimizer, TOTAL - 10)], [10]
    ),
    "all at once": lambda optimizer: lrs.ChainedScheduler(
        [lrs.LinearLR(optimizer, 0.1, total_iters=10), lrs.ExponentialLR(optimizer, 0.99)]
    ),
}


@pytest.fixture
def optimizer() -> Any:
    return torch.optim.AdamW([torch.nn.Parameter(torch.ones(3))], lr=1e-2)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_plan_is_what_the_scheduler_does(name: str, optimizer: Any) -> None:
    scheduler = SCHEDULERS[name](optimizer)
    before = from_scheduler(scheduler, total=TOTAL)
    done = []
    for step in range(TOTAL + 1):
        done.append(optimizer.param_groups[0]["lr"])
        if step in (1, 40):
            halfway = from_scheduler(scheduler, total=TOTAL)
            assert optimizer.param_groups[0]["lr"] == done[-1]
            assert np.array_equal(halfway.steps, before.steps)
            assert np.array_equal(halfway.lrs, before.lrs)
            assert halfway.text == before.text
        if step < TOTAL:
            optimizer.step()
            scheduler.step()
    assert before.end == TOTAL
    assert before.lr(np.arange(TOTAL + 1)) == pytest.approx(np.array(done), abs=2e-5 * max(done))


def test_an_epoch_has_many_steps(optimizer: Any) -> None:
    plan = from_scheduler(lrs.StepLR(optimizer, 2, gamma=0.5), total=35, every=10)
    assert plan.lr([0, 19, 20, 35]).tolist() == [0.01, 0.01, 0.005, 0.005]


def test_long_plans_need_few_knots(optimizer: Any) -> None:
    scheduler = transformers.get_cosine_schedule_with_warmup(optimizer, 100, 20_000)
    plan = from_scheduler(scheduler, total=20_000)
    assert len(plan.steps) < 600
    assert plan.warmup == 100


def test_a_scheduler_that_waits_for_losses_is_refused(optimizer: Any) -> None:
    scheduler = lrs.ReduceLROnPlateau(optimizer)
    with pytest.raises(ValueError, match=r"^scheduler must be one that can be stepped ahead .* ReduceLROnPlateau \(.*metrics"):
        from_scheduler(scheduler, total=100)


def test_a_learning_rate_set_by_hand_is_noticed(optimizer: Any) -> None:
    scheduler = lrs.StepLR(optimizer, 30)
    optimizer.param_groups[0]["lr"] = 0.02
    cure = "Give schedule=, e.g. one of schedules.cosine(...)."
    with refusal(f"scheduler must be at 0.01 after 0 steps; got 0.02 in the optimizer. {cure}"):
        from_scheduler(scheduler, total=100)
