"""Callbacks of trainers: a ``Monitor`` beside the training, its schedule and what else is known taken from the trainer.

``trainers.huggingface`` has a callback for transformers and ``trainers.lightning`` one for Lightning; each needs its library,
an extra of the same name. A loop of your own needs neither: ``Monitor.log`` there, with ``from_scheduler`` for its schedule.
"""

from bayes_tsl.live.trainers.scheduler import from_scheduler

__all__ = ["from_scheduler"]
