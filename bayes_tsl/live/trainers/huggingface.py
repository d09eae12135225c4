"""A forecast beside the training of a Hugging Face ``Trainer``, in its logs and so in W&B and TensorBoard.

    forecast = ForecastCallback("monitored/run1", target=3.2)
    forecast.attach(trainer)
    trainer.train()

Evaluations are the checkpoints; the schedule is that of the trainer's scheduler.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bayes_tsl._common.validation import require
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.live.outlook import Outlook
from bayes_tsl.live.trainers.companion import Companion
from bayes_tsl.live.trainers.scheduler import from_scheduler

try:
    from transformers import TrainerCallback  # pyright: ignore[reportMissingImports]
except ImportError:
    raise ImportError("transformers must be installed for its callback. Run pip install 'bayes_tsl[huggingface]'.") from None


class ForecastCallback(TrainerCallback):
    """Adds forecast/end, forecast/lower, forecast/upper and forecast/p_target to the logs of a Trainer.

    W&B and TensorBoard draw them under ``train/``. Only the first process monitors. What fails is logged once, and training
    goes on.

    Args:
        folder: of this run alone; training that is resumed goes on there.
        target: loss to reach.  [nats/token]
        schedule: in place of that of the trainer's scheduler.
        prob: mass of the intervals.
        seed: of fits and forecasts.
        strict: raise what is wrong instead of logging it.
        known: arguments of ``fit`` that JSON can write. Parameters, and batch and unique tokens if all examples have as many
            ``input_ids``, are taken from the trainer where every device has the whole model.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        target: float | None = None,
        schedule: Schedule | str | None = None,
        prob: float = 0.9,
        seed: int = 0,
        strict: bool = False,
        known: Mapping[str, Any] | None = None,
    ) -> None:
        asked = {"target": target, "prob": prob, "seed": seed}
        self._beside = Companion(folder, schedule=schedule, strict=strict, known=known, **asked)

    @property
    def latest(self) -> Outlook | None:
        """The last forecast that was logged."""
        return self._beside.latest

    def attach(self, trainer: Any) -> None:
        """Become the first callback of a trainer, so that those which send logs elsewhere find the forecast in them.

        Callbacks given to the trainer itself come after these, and only progress bars and printed logs show the forecast.
        """
        callbacks = trainer.callback_handler.callbacks
        if self not in callbacks:
            trainer.add_callback(self)
        callbacks.remove(self)
        callbacks.insert(0, self)

    def on_train_begin(
        self, args: Any, state: Any, control: Any, *, model: Any, lr_scheduler: Any, train_dataloader: Any, **others: Any
    ) -> None:
        """Begin to monitor."""
        if state.is_world_process_zero:
            self._beside.begin(
                lambda: from_scheduler(lr_scheduler, total=state.max_steps),
                lambda: _recipe(args, model, train_dataloader),
            )

    def on_evaluate(self, args: Any, state: Any, control: Any, *, metrics: Mapping[str, float], **others: Any) -> None:
        """Write a checkpoint down."""
        self._beside.log(state.global_step, lambda: _losses(metrics))

    def on_log(self, args: Any, state: Any, control: Any, *, logs: dict[str, float], **others: Any) -> None:
        """Add the forecast to what is logged."""
        logs.update(self._beside.metrics())

    def on_train_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Leave the worker to end by itself."""
        self._beside.end()


def _losses(metrics: Mapping[str, float]) -> dict[str, float]:
    """Losses of an evaluation by test set: ``eval_loss``, or ``eval_NAME_loss`` of one named in a mapping.

    >>> _losses({"eval_prose_loss": 3.5, "eval_prose_runtime": 1.0, "eval_prose_aux_loss": 0.1})
    {'prose': 3.5}
    """
    prefixes = [name.removesuffix("_runtime") for name in metrics if name.endswith("_runtime")]
    found = {prefix: metrics[f"{prefix}_loss"] for prefix in prefixes if f"{prefix}_loss" in metrics}
    require(found, "evaluation", "give a loss", metrics, cure="Give the model labels in evaluation.")
    return {prefix.removeprefix("eval").removeprefix("_") or "test": loss for prefix, loss in found.items()}


def _recipe(args: Any, model: Any, loader: Any) -> dict[str, float]:
    """What a trainer knows of its run, unless parts of the model are spread over devices."""
    if args.fsdp or args.deepspeed or getattr(args, "parallelism_config", None):
        return {}
    known: dict[str, float] = {"parameters": sum(parameter.numel() for parameter in model.parameters())}
    with suppress(Exception):  # a stream, or examples of another kind
        examples = loader.dataset
        lengths = {len(examples[place]["input_ids"]) for place in (0, len(examples) // 2, len(examples) - 1)}
        if len(lengths) == 1:
            tokens = lengths.pop()
            batch = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
            known |= {"batch_tokens": tokens * batch, "unique_tokens": tokens * len(examples)}
    return known
