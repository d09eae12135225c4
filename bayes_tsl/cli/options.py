"""Options that several commands have, and what a choice offers: ``inputs`` says what they mean.

Nothing slow is imported here or in ``commands``, so that ``--help`` is there at once; what can be chosen is written out, and
``tests/cli`` compares it with what the library takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import click

from bayes_tsl.cli.compile_cache import keep_nothing, keep_programs

FORMATS = (
    *("table", "wandb-csv", "tensorboard-csv", "wandb-jsonl", "trainer-state", "json", "mlflow", "tensorboard", "wandb"),
    *("nanogpt", "llmc", "modded-nanogpt", "build-nanogpt", "nanochat", "rwkv"),
    *("megatron", "fairseq", "torchtitan", "olmo", "maxtext", "torchtune", "llm-foundry", "mlx-lm", "deepspeed", "hf-stdout"),
)
LOG_OPTIONS = ("format", "metric", "split", "unit", "step", "pattern", "part")  # arguments of read_log, beside the run
FORECASTERS = ("tsl", "last-value", "power-law", "reciprocal", "logarithmic", "annealing-law", "multi-power-law")
LAWS = ("general", "free-exponent", "paper")
OPTIMIZERS = ("adamw", "adam", "adafactor", "lion", "muon", "sgd", "shampoo", "soap", "sophia")
SPLITS = ("eval", "train")
UNITS = ("nats", "bits", "perplexity")
GATES = ("alarm", "diverging", "target-missed")


def cache_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Whether compiled programs are kept: of every command that compiles."""

    def keep(_context: click.Context, _option: click.Parameter, no_cache: bool) -> None:
        keep_nothing() if no_cache else keep_programs()

    what = "Compile everything anew, and keep nothing in the user's cache folder."
    return click.option("--no-cache", is_flag=True, expose_value=False, callback=keep, help=what)(command)


quiet_option = click.option("--quiet", is_flag=True, help="Print nothing on stderr but errors: no notes, no progress bar.")
json_option = click.option("--json", is_flag=True, help="Print the result as one JSON object, and nothing else on stdout.")


def draws_option(default: str = "auto") -> Callable[..., Any]:
    """How many draws a fit keeps."""
    what = "Posterior draws of each of 4 chains; auto: as few of 300, 500, 750 and 1000 as pass the checks."
    return click.option("--draws", metavar="N|auto", default=default, show_default=True, help=what)


def recipe_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What is known of the runs beside their schedules: the more of it, the sharper the forecast."""
    batch = "Tokens a step: a number, or a CSV with columns step, batch_tokens for a batch that changes."
    options = (
        click.option("--batch-tokens", metavar="TOKENS", help=batch),
        click.option("--parameters", type=float, metavar="COUNT", help="Parameters of the model, e.g. 1.2e8."),
        click.option("--optimizer", type=click.Choice(OPTIMIZERS), help="By default as AdamW."),
        click.option("--unique-tokens", type=float, metavar="TOKENS", help="Training data before any is repeated."),
        click.option("--family", metavar="NAME", help="Priors of this bundled family, e.g. olmo_ladder."),
    )
    return _decorated(command, options)


def log_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How a training log is read."""
    example = r"'it (?P<step>\d+).*loss (?P<loss>\S+)'"
    pattern = f"Lines of any other LOG: a regular expression with the groups step and loss, e.g. {example}."
    wrote = f"What wrote LOG, by default told from its content: {', '.join(FORMATS)}."
    part = "Of several runs one after the other in LOG: a number from 1, 'all', or 'join' where only the counter began anew."
    options = (
        click.option("--format", type=click.Choice(FORMATS), metavar="NAME", help=wrote),
        click.option("--metric", help="Name of the loss in LOG, or 'all'; by default those that are named like a loss."),
        click.option("--split", type=click.Choice(SPLITS), help="Losses of evaluation, where there are any, or training."),
        click.option("--unit", type=click.Choice(UNITS), help="Of the losses, per token; by default by their name, or nats."),
        click.option("--step", metavar="NAME", help="What counts the steps in LOG: any clock, e.g. epoch or tokens."),
        click.option("--pattern", metavar="REGEX", help=pattern),
        click.option("--part", help=part),
    )
    return _decorated(command, options)


SCHEDULE = (
    "CSV with columns step, lr [, run]; or in words, as below; or 'column' to take lr of LOSSES, with the rest of a run in "
    "progress as in 'column, then cosine:total=8000,final=3e-5'."
)


def one_run_options(*ahead: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that fits one run, and those that say what it is asked ``ahead``."""
    branch = "A run of LOSSES that left this one after STEP, e.g. an early cooldown; repeat for more. See below."
    options = (
        click.argument("losses", type=click.Path(path_type=Path)),
        click.option("--schedule", help=SCHEDULE),
        click.option("--until", type=float, metavar="STEP", help="Fit up to this step; by default all of LOSSES."),
        *ahead,
        click.option("--run", help="Which run, if LOSSES has several."),
        click.option("--branch", multiple=True, metavar="RUN@STEP=SCHEDULE", help=branch),
        click.option("--test-set", help="Which test set, if LOSSES has several."),
        click.option("--law", type=click.Choice(LAWS), default="general", show_default=True, help="Reading of the law."),
        click.option("--prob", type=float, default=0.9, show_default=True, help="Mass of the interval around the median."),
        click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same forecast."),
        draws_option(),
    )
    return lambda command: _decorated(log_options(recipe_options(command)), options)


def forecast_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that fits one run and forecasts it."""
    ahead = "Forecast up to this step, at the later checkpoints of LOSSES, then as often."
    refit_wider = "Fit again to see what priors twice as wide do, instead of weighting the draws: exact, but slow."
    no_sensitivity = "Skip the check of what wider priors do to the forecast."
    asked = one_run_options(
        click.option("--steps", metavar="A,B,C", help="Steps to forecast."),
        click.option("--to", type=float, metavar="STEP", help=ahead),
        click.option("--target", type=float, metavar="LOSS", help="Say how likely and how soon the loss falls to this."),
        click.option("--no-sensitivity", is_flag=True, help=no_sensitivity),
        click.option("--refit-wider", is_flag=True, help=refit_wider),
    )
    return asked(command)


def cost_options(value: str) -> Callable[..., Any]:
    """What steps cost, and what a lower loss is worth, which the text ``value`` says."""
    options = (
        click.option("--per-step", type=float, metavar="MONEY", help="What a step costs; or"),
        click.option("--per-token", type=float, metavar="MONEY", help="what a token costs, with --tokens-per-step; or"),
        click.option("--per-hour", type=float, metavar="MONEY", help="what an hour costs, with --seconds-per-step; or"),
        click.option("--per-gpu-hour", type=float, metavar="MONEY", help="what an hour of a GPU costs, with --gpus, too."),
        click.option("--gpus", type=float, metavar="COUNT", help="How many GPUs train."),
        click.option("--currency", metavar="NAME", help="Of all money, e.g. USD."),
        click.option("--tokens-per-step", type=float, metavar="TOKENS", help="Tokens of one step."),
        click.option("--seconds-per-step", type=float, metavar="SECONDS", help="How long a step takes."),
        click.option("--fixed", type=float, metavar="MONEY", help="Spent once if training goes on at all."),
        click.option("--deadline", type=float, metavar="HOURS", help="Hours within which training must end."),
        click.option("--value", type=float, metavar="MONEY", help=value),
    )
    return lambda command: _decorated(command, options)


def _decorated(command: Callable[..., Any], options: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    """The command with these options, listed in their order."""
    return reduce(lambda made, option: option(made), reversed(options), command)
