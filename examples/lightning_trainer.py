"""Train a character model with Lightning, and see on the way where it will end.

python examples/lightning_trainer.py
"""

from __future__ import annotations

from pathlib import Path
from pydoc_data.topics import topics  # the reference of Python, a text that is everywhere

import lightning
import torch
from torch.nn.functional import cross_entropy

from bayes_tsl.live.trainers.lightning import ForecastCallback

LENGTH, BATCH = 64, 32


class Characters(lightning.LightningModule):
    """The next character, by a recurrent network."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.embedding, self.memory, self.head = torch.nn.Embedding(256, 64), torch.nn.GRU(64, 128), torch.nn.Linear(128, 256)

    def training_step(self, rows: torch.Tensor) -> torch.Tensor:
        hidden, _ = self.memory(self.embedding(rows.T[:-1]))
        return cross_entropy(self.head(hidden).flatten(0, 1), rows.T[1:].flatten())

    def validation_step(self, rows: torch.Tensor) -> None:
        self.log("val_loss", self.training_step(rows))

    def configure_optimizers(self) -> dict:
        optimizer = torch.optim.AdamW(self.parameters(), lr=5e-3)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": decay, "interval": "step"}}


def train(folder: Path, *, steps: int = 2000) -> tuple[ForecastCallback, float]:
    """Train, and compare the last forecast with the loss at the end."""
    torch.set_num_threads(1)  # another core is left to the forecast
    text = torch.tensor(list("".join(topics.values()).encode()))
    rows = text[: len(text) // LENGTH * LENGTH].view(-1, LENGTH)
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]
    data = torch.utils.data.DataLoader(rows[256:], BATCH, shuffle=True)
    known = {"batch_tokens": BATCH * LENGTH, "unique_tokens": rows[256:].numel()}
    forecast = ForecastCallback(folder / "monitored", target=1.2, known=known)
    often = {"val_check_interval": 30, "check_val_every_n_epoch": None, "enable_progress_bar": False}
    logger = lightning.pytorch.loggers.CSVLogger(folder)
    trainer = lightning.Trainer(max_steps=steps, accelerator="cpu", callbacks=[forecast], logger=logger, **often)
    trainer.fit(Characters(steps), data, torch.utils.data.DataLoader(rows[:256], 256))
    ended = float(trainer.callback_metrics["val_loss"])
    print(forecast.latest or "no forecast yet", f"ended at {ended:.4f}", sep="\n")
    return forecast, ended


if __name__ == "__main__":
    train(Path("out/lightning"))
