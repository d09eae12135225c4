"""Losses per position of the public Pythia checkpoints, or of others like them, on a text of yours.

python examples/evaluate_pythia.py --model EleutherAI/pythia-70m --revisions step1000,step2000,step4000 \
    --dataset text.txt --out losses.csv

Needs the extra: pip install 'bayes_tsl[pythia]'. The text is cut into sequences of --length tokens. The table is written after
each revision, and revisions that it has are not evaluated again. A model is one of the Hugging Face Hub, whose 'revisions' are
its branches, or a local folder with one folder for each revision.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer

import bayes_tsl as bt


def evaluate(model: str, revisions: Sequence[str], *, dataset: Path, out: Path, length: int, batch: int) -> list[str]:
    """Evaluate what the table ``out`` lacks, and return which revisions that were."""
    steps = {revision: step_of(revision) for revision in revisions}
    if not out.name.endswith(".csv") or not out.parent.is_dir():
        raise bt.DataError(f"out must be a csv file in a folder that exists; got {str(out)!r}. Choose another.")
    if length < 2 or batch < 1:
        raise bt.DataError(f"length must be 2 or more and batch 1; got {length} and {batch}. Choose larger ones.")
    names = {"run": Path(model).name, "test_set": dataset.stem}
    tables = [bt.read_losses(out).frame] if out.exists() else []
    seen = seen_steps(tables, names, length)
    missing = {revision: at(model, revision) for revision, step in steps.items() if step not in seen}
    if missing:
        sequences = cut(dataset, AutoTokenizer.from_pretrained(**next(iter(missing.values()))), length)
    for revision, place in missing.items():
        losses = token_losses(load(place, length), sequences, batch, title=revision)
        tables.append(bt.collect.checkpoint(losses, step=steps[revision], **names))
        write(bt.LossTable.from_frame(pd.concat(tables)).frame.dropna(axis="columns", how="all"), out)
    return list(missing)


def step_of(revision: str) -> int:
    if not (found := re.fullmatch(r"step(\d+)", revision)):
        raise bt.DataError(f"revisions must be named by their step; got {revision!r}. Write them like step1000,step2000.")
    return int(found[1])


def seen_steps(tables: list[pd.DataFrame], names: dict[str, str], length: int) -> set[float]:
    """Steps that were evaluated, on sequences as long as now."""
    rows = [table[(table[list(names)] == pd.Series(names)).all(axis=1)] for table in tables]
    if rows and len(rows[0]) and (before := rows[0]["position"].max() + 2) != length:
        raise bt.DataError(f"length must be as before, {before:g}; got {length}. Keep it, or choose another --out.")
    return {step for table in rows for step in table["step"]}


def at(model: str, revision: str) -> dict[str, str]:
    """Where a revision is: in a folder, or on the hub."""
    if not Path(model).is_dir():
        return {"pretrained_model_name_or_path": model, "revision": revision}
    if not (Path(model) / revision).is_dir():
        raise bt.DataError(f"revisions must be folders of {model}; got {revision!r}. Check the name.")
    return {"pretrained_model_name_or_path": str(Path(model) / revision)}


def cut(dataset: Path, tokenizer, length: int) -> torch.Tensor:
    """The text as token ids (sequence, position); what is left at its end is too short, and left out."""
    if not dataset.is_file():
        raise bt.DataError(f"dataset must exist; got {str(dataset)!r}. Check the path.")
    ids = tokenizer(dataset.read_text(encoding="utf-8"), add_special_tokens=False, verbose=False)["input_ids"]
    if len(ids) < length:
        raise bt.DataError(f"dataset must have {length} tokens or more; got {len(ids)} in {dataset}. Choose a longer text.")
    return torch.tensor(ids[: len(ids) // length * length]).view(-1, length)


def load(place: dict[str, str], length: int) -> torch.nn.Module:
    network = AutoModelForCausalLM.from_pretrained(**place).float().eval()
    most = getattr(network.config, "max_position_embeddings", length)
    if length > most:
        raise bt.DataError(f"length must be at most {most}, the context of the model; got {length}. Choose a smaller --length.")
    return network.to("cuda" if torch.cuda.is_available() else "cpu")


def token_losses(network: torch.nn.Module, sequences: torch.Tensor, batch: int, title: str) -> Iterator[torch.Tensor]:
    """A batch at a time (sequence, position)."""
    for tokens in tqdm(sequences.split(batch), desc=title, unit="batch"):
        with torch.no_grad():
            logits = network(input_ids=tokens.to(next(network.parameters()).device), use_cache=False).logits
        yield bt.collect.token_losses(logits, tokens)


def write(table: pd.DataFrame, out: Path) -> None:
    """Whole or not at all."""
    beside = out.with_name(f".{out.name}")
    table.to_csv(beside, index=False)
    beside.replace(out)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="name on the hub, or folder")
    parser.add_argument("--revisions", required=True, help="such as step1000,step2000")
    parser.add_argument("--dataset", required=True, type=Path, help="text file in UTF-8; its name becomes the test set")
    parser.add_argument("--out", required=True, type=Path, help="table to write or go on with, csv")
    parser.add_argument("--length", type=int, default=2048, help="tokens per sequence, by default 2048 as in training")
    parser.add_argument("--batch", type=int, default=4, help="sequences at a time")
    asked = vars(parser.parse_args(arguments))
    try:
        done = evaluate(revisions=asked.pop("revisions").split(","), **asked)
    except (ValueError, OSError) as error:
        parser.exit(2, f"error: {str(error).strip().splitlines()[0]}\n")
    print(f"evaluated {len(done)} revisions; {asked['out']} has them all")


if __name__ == "__main__":
    main()
