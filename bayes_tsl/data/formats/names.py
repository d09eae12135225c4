"""What the names of columns and metrics say: clock, loss, split, unit, learning rate, tokens, run.

Programs agree on few names, but each name means one thing: the vocabulary is shared by all formats and written down here once.
"""

from __future__ import annotations

import re

STEPS = (  # a trainer's own count comes before that of its logger
    *("global_step", "iteration", "iter", "step", "_step", "train_step", "training_step", "current_steps", "num_updates"),
    *("update", "updates", "steps", "iters", "iterations", "iter_num", "itr", "batch", "optimizer_step"),
    "global_step/max_steps",
)
SAMPLES = ("samples", "samples_seen", "num_samples", "consumed_samples", "examples", "examples_seen", "train/samples")
EPOCHS = ("epoch", "epochs", "current_epoch")
RUNS = ("run", "run_name", "run_id", "runid", "experiment", "experiment_name", "exp", "exp_name", "name", "model", "model_name")
SETS = ("test_set", "dataset", "eval_set", "eval_dataset", "val_set", "corpus", "domain")
METRICS = ("metric", "tag", "key")
SPLITS = ("split", "phase", "mode", "stage", "subset")
PER_STEP = "tokens a step"  # a metric that formats name so: tokens of each step, not of all

_TOTAL_TOKENS = (
    *("tokens", "tokens_seen", "num_input_tokens_seen", "total_tokens", "consumed_tokens", "trained_tokens", "train_tokens"),
    *("num_tokens", "n_tokens", "num_tokens_seen", "seen_tokens", "tokens_processed", "tokens_trained", "cumulative_tokens"),
    *("time/token", "token"),
)
_WORD = r"(?<![a-z]){}(?![a-z])"
_LOSS = re.compile(
    r"loss|nll|cross.?entropy|xent|perplexity|ppl|(?<![a-z])(?:bpb|bpc|bits?.?per.?(?:byte|char|token))(?![a-z])", re.I
)
_NO_LOSS = re.compile(
    r"loss.?(?:scale|se|std|sem|weight|type|fn|func)|(?:aux|z|router|balanc\w*|moe|time|count|delta|grad)[._/ ]?loss",
    re.I,
)
_SUMMARY = re.compile(
    r"(?<![a-z])(?:best|min|max|minimum|maximum|final|lowest|summary|avg|ema|smooth\w*|running)(?![a-z])", re.I
)
_EVAL = re.compile(r"(?<![a-z])(?:eval|evaluation|val|valid|validation|test|dev|held.?out)(?![a-z])", re.I)
_TRAIN = re.compile(_WORD.format(r"train(?:ing)?"), re.I)
_OPTIMIZER = r"\d+|adam\w*|sgd|lion|muon|decoupled\w*|(?:param_?)?group[-_]?\d*|pg\d+"
_LR = re.compile(rf"(?:^|[/._\s-])(?:lr|lrm|lr_mult(?:iplier)?|learning[ _-]?rate)(?:[-_/ ]?(?:{_OPTIMIZER}))*$", re.I)
_UNITS = {
    "perplexity": re.compile(r"perplexity|ppl", re.I),
    "bits/byte": re.compile(_WORD.format(r"(?:bpb|bpc|bits?.?per.?(?:byte|char))"), re.I),
    "bits": re.compile(_WORD.format(r"bits?"), re.I),
}
_KIND = (re.compile(r"cross.?entropy|xent", re.I), re.compile(r"nll", re.I), re.compile(r"loss", re.I))


def last_part(name: str) -> str:
    """The last part of a name, in small letters and with underscores.

    >>> last_part("trainer/Global Step")
    'global_step'
    """
    return plain(re.split(r"[/.]", name)[-1])


def plain(name: str) -> str:
    """A name in small letters, its blanks and dashes as underscores."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def clock_rank(name: str) -> int | None:
    """How good a clock a column of this name is, 0 the best; None where it is none: steps, then tokens, samples, epochs."""
    for offset, names in ((0, STEPS), (200, SAMPLES), (300, EPOCHS)):
        for one in (plain(name), last_part(name)):
            if one in names:
                return offset + names.index(one)
    return 100 if is_tokens(name) else None


def clock_unit(name: str) -> str:
    """What a clock of this name counts: steps, tokens, samples or epochs."""
    rank = clock_rank(name)
    return "steps" if rank is None else ("steps", "tokens", "samples", "epochs")[rank // 100]


def is_loss(name: str) -> bool:
    """Whether a metric of this name is a loss, in any unit."""
    return bool(_LOSS.search(name)) and not _NO_LOSS.search(name)


def is_summary(name: str) -> bool:
    """Whether a metric sums up others, as the best so far does, and is no loss of one checkpoint."""
    return bool(_SUMMARY.search(name))


def is_eval(name: str) -> bool:
    """Whether a metric was measured on held-out data."""
    return bool(_EVAL.search(name))


def is_train(name: str) -> bool:
    """Whether a name says that it is of training."""
    return bool(_TRAIN.search(name))


def is_lr(name: str) -> bool:
    """Whether a metric is the learning rate, or its share of the peak."""
    return bool(_LR.search(name.strip()))


def is_tokens(name: str) -> bool:
    """Whether a metric counts the tokens trained on so far."""
    return last_part(name) in _TOTAL_TOKENS or plain(name).endswith("time/token")


def unit_of(name: str) -> str:
    """Unit of a loss by its name: nats, bits, bits/byte or perplexity.

    >>> [unit_of(name) for name in ("val/loss", "val_ppl", "val_bpb")]
    ['nats', 'perplexity', 'bits/byte']
    """
    return next((unit for unit, words in _UNITS.items() if words.search(name)), "nats")


def kind_rank(name: str) -> int:
    """How plainly a name says cross-entropy, 0 the most: a ``loss`` may hold more than that."""
    return next((rank for rank, words in enumerate(_KIND) if words.search(name)), len(_KIND))
