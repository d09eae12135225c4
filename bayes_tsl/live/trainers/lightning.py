"""A forecast beside the training of a Lightning ``Trainer``, in whatever it logs to.

    trainer = lightning.Trainer(callbacks=[ForecastCallback("monitored/run1", target=3.2)])

Validations are the checkpoints; the schedule is that of the scheduler of ``configure_optimizers``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bayes_tsl._common.validation import require, require_choice
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.live.outlook import Outlook
from bayes_tsl.live.trainers.companion import Companion
from bayes_tsl.live.trainers.scheduler import CURE, from_scheduler

try:
    from lightning.pytorch import Callback, LightningModule, Trainer  # pyright: ignore[reportMissingImports]
    from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy  # pyright: ignore[reportMissingImports]
except ImportError:
    raise ImportError("lightning must be installed for its callback. Run pip install 'bayes_tsl[lightning]'.") from None


class ForecastCallback(Callback):
    """Logs forecast/end, forecast/lower, forecast/upper and forecast/p_target at every validation.

    Only the first process monitors. What fails is logged once, and training goes on.

    Args:
        folder: of this run alone; training that is resumed goes on there.
        metric: name under which the module logs its validation loss.  [nats/token]
        target: loss to reach.  [nats/token]
        schedule: in place of that of the scheduler.
        prob: mass of the intervals.
        seed: of fits and forecasts.
        strict: raise what is wrong instead of logging it.
        known: arguments of ``fit`` that JSON can write, e.g. batch_tokens. Parameters are counted where every device has the
            whole model.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        metric: str = "val_loss",
        target: float | None = None,
        schedule: Schedule | str | None = None,
        prob: float = 0.9,
        seed: int = 0,
        strict: bool = False,
        known: Mapping[str, Any] | None = None,
    ) -> None:
        self._metric = metric
        asked = {"target": target, "prob": prob, "seed": seed}
        self._beside = Companion(folder, schedule=schedule, strict=strict, known=known, **asked)

    @property
    def latest(self) -> Outlook | None:
        """The last forecast that was logged."""
        return self._beside.latest

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to monitor."""
        if trainer.is_global_zero:
            self._beside.begin(lambda: _schedule(trainer), lambda: _recipe(trainer, pl_module))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the forecast beside the validation loss."""
        if metrics := self._beside.metrics():
            self._beside.attempt(lambda: pl_module.log_dict(metrics, rank_zero_only=True))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write a checkpoint down."""
        self._beside.log(trainer.global_step, lambda: {"test": _value(trainer.callback_metrics, self._metric)})

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the worker to end by itself."""
        self._beside.end()


def _schedule(trainer: Trainer) -> Schedule:
    """Planned learning rate of the first optimizer."""
    total = trainer.estimated_stepping_batches
    require(0 < total < math.inf, "trainer", "have a last step", total, cure="Give it max_steps.")
    require(trainer.lr_scheduler_configs, "trainer", "have a scheduler", "none", cure=CURE)
    first = trainer.lr_scheduler_configs[0]
    batches = trainer.num_training_batches if first.interval == "epoch" else trainer.accumulate_grad_batches
    require(batches < math.inf, "epochs", "have an end for a scheduler that steps by them", batches, cure=CURE)
    every = first.frequency * math.ceil(batches / trainer.accumulate_grad_batches)
    return from_scheduler(first.scheduler, total=int(total), every=every)


def _value(metrics: Mapping[str, Any], name: str) -> float:
    require_choice(name, "metric", metrics, cure="Give metric=, the name of the validation loss.")
    return float(metrics[name])


def _recipe(trainer: Trainer, module: LightningModule) -> dict[str, float]:
    """Parameters, unless parts of the model are spread over devices."""
    whole = isinstance(trainer.strategy, DDPStrategy | SingleDeviceStrategy)
    return {"parameters": float(sum(parameter.numel() for parameter in module.parameters()))} if whole else {}
