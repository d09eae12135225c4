"""A forecast in the logs of a Hugging Face ``Trainer``, and nothing else that changes for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bayes_tsl as bt
from bayes_tsl.live.journal import Journal
from tests.trainers.conftest import AHEAD

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
from bayes_tsl.live.trainers.huggingface import ForecastCallback  # noqa: E402

pytestmark = [pytest.mark.usefixtures("idle"), pytest.mark.filterwarnings("ignore")]  # of the libraries
STEPS, EVERY, LENGTH, BATCH = 12, 2, 16, 4


def trainer(folder: Path, *, tests: int = 1, **settings: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"vocab_size": 32, "n_positions": LENGTH, "n_embd": 16, "n_layer": 1, "n_head": 2}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(bos_token_id=0, eos_token_id=0, **sizes))
    data = [{"input_ids": row, "labels": row} for row in torch.randint(0, 32, (32, LENGTH))]
    usual = {"max_steps": STEPS, "learning_rate": 1e-2, "lr_scheduler_type": "cosine", "warmup_steps": 2, "save_steps": 6}
    often = {"eval_strategy": "steps", "eval_steps": EVERY, "logging_steps": 1, "per_device_train_batch_size": BATCH}
    quiet = {"report_to": "none", "use_cpu": True, "disable_tqdm": True}
    arguments = transformers.TrainingArguments(str(folder / "trained"), **usual | often | quiet | settings)
    held_out = data[:8] if tests == 1 else {f"set{number}": data[:8] for number in range(tests)}
    return transformers.Trainer(model=model, args=arguments, train_dataset=data, eval_dataset=held_out)


def test_evaluations_are_checkpoints_of_the_planned_run(tmp_path: Path, said: Callable[[], list[str]]) -> None:
    one = trainer(tmp_path)
    ForecastCallback(tmp_path / "run", target=3.2).attach(one)
    one.train()
    history = one.state.log_history
    evaluated = {log["step"]: log["eval_loss"] for log in history if "eval_loss" in log}
    assert Journal(tmp_path / "run").losses()["test"].mean_losses().to_dict() == evaluated
    assert list(evaluated) == list(range(EVERY, STEPS + 1, EVERY))
    plan = Journal(tmp_path / "run").plan()
    assert (plan.schedule.end, plan.target) == (STEPS, 3.2)
    for log in history:
        if "learning_rate" in log:  # that of the step that was taken
            assert plan.schedule.lr(log["step"] - 1) == pytest.approx(log["learning_rate"], abs=1e-6)
    parameters = sum(each.numel() for each in one.model.parameters())
    assert plan.known == {"parameters": parameters, "batch_tokens": LENGTH * BATCH, "unique_tokens": 32 * LENGTH}
    assert said() == []


def test_the_forecast_is_drawn_by_tensorboard(tmp_path: Path, forecast_folder: Path) -> None:
    pytest.importorskip("tensorboard")
    one = trainer(tmp_path, report_to=["tensorboard"])
    forecast = ForecastCallback(forecast_folder, target=3.2)
    forecast.attach(one)
    one.train()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = next(path for path in tmp_path.rglob("events.out.tfevents*"))
    drawn = EventAccumulator(str(events)).Reload()
    for name, value in AHEAD.metrics().items():
        scalars = drawn.Scalars(f"train/{name}")
        assert {scalar.step for scalar in scalars} == set(range(1, STEPS + 1))
        assert scalars[-1].value == pytest.approx(value)
    assert forecast.latest == AHEAD


def test_a_callback_is_there_once_and_first(tmp_path: Path) -> None:
    one, forecast = trainer(tmp_path), ForecastCallback(tmp_path / "run")
    one.add_callback(forecast)
    forecast.attach(one)
    callbacks = one.callback_handler.callbacks
    assert callbacks[0] is forecast
    assert callbacks.count(forecast) == 1


def test_training_is_the_same_with_and_without(tmp_path: Path) -> None:
    losses = []
    for folder in ("alone", "watched"):
        one = trainer(tmp_path / folder)
        if folder == "watched":
            ForecastCallback(tmp_path / "run").attach(one)
        one.train()
        losses.append([log["loss"] for log in one.state.log_history if "loss" in log])
    assert losses[0] == losses[1]


def test_training_that_is_resumed_goes_on_in_its_folder(tmp_path: Path, said: Callable[[], list[str]]) -> None:
    first = trainer(tmp_path)
    ForecastCallback(tmp_path / "run").attach(first)
    first.add_callback(stopped_at(6))
    first.train()
    again = trainer(tmp_path)
    ForecastCallback(tmp_path / "run").attach(again)
    again.train(resume_from_checkpoint=str(tmp_path / "trained" / "checkpoint-6"))
    assert again.state.global_step == STEPS
    assert Journal(tmp_path / "run").losses()["test"].steps.tolist() == list(range(EVERY, STEPS + 1, EVERY))
    assert said() == []


def stopped_at(step: int) -> Any:
    class Stop(transformers.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            control.should_training_stop = state.global_step == step

    return Stop()


def test_test_sets_are_kept_apart(tmp_path: Path) -> None:
    one = trainer(tmp_path, tests=2)
    ForecastCallback(tmp_path / "run").attach(one)
    one.train()
    assert set(Journal(tmp_path / "run").losses()) == {"set0", "set1"}


def test_what_cannot_be_foreseen_costs_a_line(tmp_path: Path, said: Callable[[], list[str]]) -> None:
    one = trainer(tmp_path, lr_scheduler_type="reduce_lr_on_plateau", metric_for_best_model="eval_loss")
    ForecastCallback(tmp_path / "run").attach(one)
    one.train()
    assert one.state.global_step == STEPS
    assert len(said()) == 1
    assert said()[0].startswith("not monitored: scheduler must be one that can be stepped ahead without the training; ")
    strict = trainer(tmp_path, lr_scheduler_type="reduce_lr_on_plateau", metric_for_best_model="eval_loss")
    ForecastCallback(tmp_path / "strict", strict=True).attach(strict)
    with pytest.raises(bt.DataError, match=r"^scheduler must be one that can be stepped ahead"):
        strict.train()


def test_evaluations_without_a_loss_cost_a_line(tmp_path: Path, said: Callable[[], list[str]]) -> None:
    one = trainer(tmp_path)
    forecast = ForecastCallback(tmp_path / "run", schedule=bt.schedules.constant(peak=1e-2, total=STEPS))
    forecast.on_train_begin(one.args, one.state, one.control, model=one.model, lr_scheduler=None, train_dataloader=None)
    for _ in range(2):
        forecast.on_evaluate(one.args, one.state, one.control, metrics={"eval_runtime": 1.0})
    got = "evaluation must give a loss; got 'eval_runtime'. Give the model labels in evaluation."
    assert said() == [f"not monitored: {got}"]


def test_another_schedule_can_be_given(tmp_path: Path) -> None:
    given = bt.schedules.constant(peak=1e-2, total=2 * STEPS)
    one = trainer(tmp_path, lr_scheduler_type="reduce_lr_on_plateau", metric_for_best_model="eval_loss")
    ForecastCallback(tmp_path / "run", schedule=given, known={"parameters": 7.0}).attach(one)
    one.train()
    plan = Journal(tmp_path / "run").plan()
    assert plan.schedule.text == given.text
    assert plan.known["parameters"] == 7.0


def test_other_processes_do_nothing(tmp_path: Path) -> None:
    one = trainer(tmp_path)
    one.state = transformers.TrainerState(is_world_process_zero=False)
    forecast = ForecastCallback(tmp_path / "run")
    forecast.on_train_begin(one.args, one.state, one.control, model=None, lr_scheduler=None, train_dataloader=None)
    logs = {"loss": 3.0}
    forecast.on_evaluate(one.args, one.state, one.control, metrics={"eval_loss": 3.0, "eval_runtime": 1.0})
    forecast.on_log(one.args, one.state, one.control, logs=logs)
    forecast.on_train_end(one.args, one.state, one.control)
    assert logs == {"loss": 3.0}
    assert not (tmp_path / "run").exists()
