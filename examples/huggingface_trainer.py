"""Train a character model with the Trainer of Hugging Face, and see on the way where it will end.

python examples/huggingface_trainer.py
"""

from __future__ import annotations

from pathlib import Path
from pydoc_data.topics import topics  # the reference of Python, a text that is everywhere

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from bayes_tsl.live.trainers.huggingface import ForecastCallback

LENGTH = 64


def train(folder: Path, *, steps: int = 2000) -> tuple[ForecastCallback, float]:
    """Train, and compare the last forecast with the loss at the end."""
    torch.set_num_threads(1)  # another core is left to the forecast
    text = torch.tensor(list("".join(topics.values()).encode()))
    rows = text[: len(text) // LENGTH * LENGTH].view(-1, LENGTH)
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]
    data = [{"input_ids": row, "labels": row} for row in rows]
    size = {"vocab_size": 256, "n_positions": LENGTH, "n_embd": 64, "n_layer": 2, "n_head": 4}
    model = GPT2LMHeadModel(GPT2Config(bos_token_id=0, eos_token_id=0, **size))
    plan = {"max_steps": steps, "learning_rate": 3e-3, "lr_scheduler_type": "cosine", "warmup_steps": 50}
    often = {"eval_strategy": "steps", "eval_steps": 30, "logging_steps": 30, "report_to": "tensorboard"}
    batch = {"per_device_train_batch_size": 16, "per_device_eval_batch_size": 64, "use_cpu": True}
    args = TrainingArguments(str(folder), save_strategy="no", disable_tqdm=True, **plan, **often, **batch)
    trainer = Trainer(model=model, args=args, train_dataset=data[256:], eval_dataset=data[:256])
    forecast = ForecastCallback(folder / "monitored", target=1.7)
    forecast.attach(trainer)
    trainer.train()
    ended = trainer.evaluate()["eval_loss"]
    print(forecast.latest or "no forecast yet", f"ended at {ended:.4f}", sep="\n")
    return forecast, ended


if __name__ == "__main__":
    train(Path("out/huggingface"))
