"""A forecast in what a Lightning ``Trainer`` logs, and nothing else that changes for it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import bayes_tsl as bt
from bayes_tsl.live.journal import Journal
from tests.trainers.conftest import AHEAD

torch = pytest.importorskip("torch")
lightning = pytest.importorskip("lightning")
from lightning.pytorch.loggers import CSVLogger  # noqa: E402

from bayes_tsl.live.trainers.lightning import ForecastCallback  # noqa: E402

pytestmark = [pytest.mark.usefixtures("idle"), pytest.mark.filterwarnings("ignore")]  # of the libraries
STEPS, EVERY = 12, 2


class Bigrams(lightning.LightningModule):
    """The next of 8 symbols from the last one."""

    def __init__(self, scheduler: Any = None) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(8, 8)
        self.scheduler = scheduler or {"interval": "step"}
        self.validated: dict[int, float] = {}

    def loss(self, batch: Any) -> Any:
        (tokens,) = batch
        return torch.nn.functional.cross_entropy(self.table(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())

    def training_step(self, batch: Any, index: int) -> Any:
        return self.loss(batch)

    def validation_step(self, batch: Any, index: int) -> None:
        loss = self.loss(batch)
        self.log("val_loss", loss)
        if not self.trainer.sanity_checking:
            self.validated[self.trainer.global_step] = float(loss)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-2)
        if self.scheduler == "none":
            return optimizer
        if self.scheduler == "plateau":
            waiting = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": waiting, "monitor": "val_loss"}}
        decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.25, total_iters=3 if "epoch" in str(self.scheduler) else 12)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": decay, **self.scheduler}}


class Stream(torch.utils.data.IterableDataset):
    """Rows in their order, of a number that nobody knows."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[Any]:
        return iter([(row,) for row in self.rows])


def train(
    folder: Path,
    forecast: ForecastCallback,
    *,
    module: Any = None,
    ckpt: Path | None = None,
    stream: bool = False,
    **settings: Any,
) -> Any:
    torch.manual_seed(0)
    tokens = torch.randint(0, 8, (16, 9))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(tokens), batch_size=4)
    if stream:
        loader = torch.utils.data.DataLoader(Stream(tokens), batch_size=4)
    held_out = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(tokens), batch_size=16)
    usual = {"max_epochs": STEPS // 4, "val_check_interval": EVERY, "check_val_every_n_epoch": None, "accelerator": "cpu"}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    usual |= quiet | {"logger": CSVLogger(folder), "callbacks": [forecast]}
    trainer = lightning.Trainer(**usual | settings)
    module = module or Bigrams()
    trainer.fit(module, loader, held_out, ckpt_path=ckpt and str(ckpt))
    return trainer


def test_validations_are_checkpoints_of_the_planned_run(tmp_path: Path, said: Callable[[], list[str]]) -> None:
    trainer = train(tmp_path, ForecastCallback(tmp_path / "run", target=2.0, known={"batch_tokens": 36}))
    journal = Journal(tmp_path / "run")
    assert journal.losses()["test"].mean_losses().to_dict() == pytest.approx(trainer.lightning_module.validated)
    assert journal.losses()["test"].steps.tolist() == list(range(EVERY, STEPS + 1, EVERY))
    plan = journal.plan()
    assert plan.schedule.lr([0, 6, 12]) == pytest.approx(np.array([1e-2, 0.625e-2, 0.25e-2]))
    assert plan.known == {"batch_tokens": 36, "parameters": 64}
    assert said() == []


def test_schedulers_may_step_by_the_epoch(tmp_path: Path) -> None:
    train(tmp_path, ForecastCallback(tmp_path / "run"), module=Bigrams({"interval": "epoch"}))
    plan = Journal(tmp_path / "run").plan()
    assert plan.schedule.lr([0, 3, 4, 8, 11, 12]) == pytest.approx(np.array([1, 1, 0.75, 0.5, 0.5, 0.25]) * 1e-2)


def test_accumulated_batches_are_one_step(tmp_path: Path) -> None:
    module = Bigrams({"interval": "epoch"})
    train(tmp_path, ForecastCallback(tmp_path / "run"), module=module, accumulate_grad_batches=2)
    plan = Journal(tmp_path / "run").plan()
    assert plan.schedule.end == STEPS / 2
    assert plan.schedule.lr([0, 2, 4, 6]) == pytest.approx(np.array([1, 0.75, 0.5, 0.25]) * 1e-2)


def test_the_forecast_is_logged_beside_the_loss(tmp_path: Path, forecast_folder: Path) -> None:
    forecast = ForecastCallback(forecast_folder, target=3.2)
    trainer = train(tmp_path, forecast)
    with (Path(trainer.logger.log_dir) / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == STEPS / EVERY
    for name, value in AHEAD.metrics().items():
        assert [float(row[name]) for row in rows] == pytest.approx([value] * len(rows))
    assert forecast.latest == AHEAD


def test_training_that_is_resumed_goes_on_in_its_folder(tmp_path: Path, said: Callable[[], list[str]]) -> None:
    begun = ForecastCallback(tmp_path / "run")
    first = train(tmp_path, begun, callbacks=[begun, Stop(8)])
    assert first.global_step == 8
    first.save_checkpoint(tmp_path / "half.ckpt")
    again = train(tmp_path, ForecastCallback(tmp_path / "run"), ckpt=tmp_path / "half.ckpt")
    assert again.global_step == STEPS
    assert Journal(tmp_path / "run").losses()["test"].steps.tolist() == list(range(EVERY, STEPS + 1, EVERY))
    assert said() == []


class Stop(lightning.Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Any, *others: Any) -> None:
        trainer.should_stop = trainer.global_step == self.step


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        ("none", "trainer must have a scheduler; got 'none'. Give schedule="),
        ("plateau", "scheduler must be one that can be stepped ahead without the training; got ReduceLROnPlateau ("),
    ],
)
def test_what_cannot_be_foreseen_costs_a_line(
    tmp_path: Path, said: Callable[[], list[str]], scheduler: str, message: str
) -> None:
    trainer = train(tmp_path, ForecastCallback(tmp_path / "run"), module=Bigrams(scheduler))
    assert trainer.global_step == STEPS
    assert len(said()) == 1
    assert said()[0].startswith(f"not monitored: {message}")
    with pytest.raises(bt.DataError, match=r"^(trainer|scheduler) must "):
        train(tmp_path, ForecastCallback(tmp_path / "strict", strict=True), module=Bigrams(scheduler))


def test_a_stream_without_an_end_costs_a_line(tmp_path: Path, said: Callable[[], list[str]]) -> None:
    train(tmp_path, ForecastCallback(tmp_path / "endless"), max_epochs=-1, max_time={"seconds": 1})
    train(tmp_path, ForecastCallback(tmp_path / "stream"), module=Bigrams({"interval": "epoch"}), stream=True, max_steps=STEPS)
    assert [line.partition(". ")[0] for line in said()] == [
        "not monitored: trainer must have a last step; got inf",
        "not monitored: epochs must have an end for a scheduler that steps by them; got inf",
    ]


def test_a_wrong_name_of_the_loss_is_said_once(tmp_path: Path, said: Callable[[], list[str]]) -> None:
    train(tmp_path, ForecastCallback(tmp_path / "run", metric="loss"))
    cure = "Give metric=, the name of the validation loss."
    assert said() == [f"not monitored: metric must be one of 'val_loss'; got 'loss'. {cure}"]


def test_other_processes_do_nothing(tmp_path: Path) -> None:
    forecast, second = ForecastCallback(tmp_path / "run"), SimpleNamespace(is_global_zero=False, global_step=1)
    forecast.on_train_start(second, Bigrams())
    forecast.on_validation_epoch_end(second, Bigrams())
    forecast.on_validation_end(second, Bigrams())
    forecast.on_fit_end(second, Bigrams())
    assert not (tmp_path / "run").exists()
