"""Consoles of training frameworks."""

from __future__ import annotations

from bayes_tsl.data.formats.kinds import NUMBER, Format, Line, console

_MEGATRON = r"\biteration +{step}/ *\d+ \|.*\b"

MEGATRON = console(
    "megatron",
    "Megatron-LM, Megatron-DeepSpeed, GPT-NeoX",
    _MEGATRON + r"learning rate: +{lr}",
    _MEGATRON + r"lm[_ ]loss: +{lm loss}",
    _MEGATRON + r"consumed tokens: +{consumed tokens}",
    r"\bvalidation (?:loss|results) at iteration +{step}(?: on validation set)? \|.*?\blm[_ ]loss value: +{validation lm loss}",
)
FAIRSEQ = console(
    "fairseq",
    "fairseq, in bits",
    r"\| train_inner \|.*\bloss={loss},.*\bnum_updates={step},(?:.*\blr={lr})?",
    r"\| valid \|.*\bon '{set}' subset(?: \|.*?)? \| nll_loss {valid nll_loss} \|.*\bnum_updates {step}\b",
    r"\| valid \|.*\bon '{set}' subset(?: \|.*?)? \| loss {valid loss} \|.*\bnum_updates {step}\b",
    r"\| (?!train)\w+ \| (?:epoch \d+ \| )?loss {valid loss} \|.*\bnum_updates {step}\b",
    unit="bits",
)
TORCHTITAN = console(
    "torchtitan",
    "torchtitan",
    r"(?<!validate )\bstep: +{step} +loss: +{loss}(?:.*\blr: +{lr})?",
    r"\bvalidate step: +{step} +loss: +{validation loss}",
)
OLMO = console(
    "olmo",
    "OLMo, OLMo-core",
    r"\[step={step}/",
    Line(r"^\s+[\w/ .-]+=", pairs=rf"^\s+([\w/ .-]+?)=({NUMBER})"),
)
MAXTEXT = console(
    "maxtext",
    "MaxText",
    r"\bcompleted step: {step},.*\bloss: {loss}",
    r"\beval metrics after step: {step},.*?\bloss={eval loss}",
    r"\bcompleted step: {step},.*\btotal_weights: {tokens a step}",
)
TORCHTUNE = console(
    "torchtune",
    "torchtune: DiskLogger",
    r"\bstep {step} \| (?:.* )?loss:{loss}(?: .*\blr:{lr})?",
    r"\bstep {step} \| (?:.* )?val_loss:{val_loss}",
)
LLM_FOUNDRY = console(
    "llm-foundry",
    "llm-foundry, Composer",
    r"\[batch={step}/\d+\]",
    Line(r"\b(?:train|eval) [\w/.-]+: ", pairs=rf"\b(?:train|eval) ([\w/.-]+): +({NUMBER})"),
)
MLX_LM = console(
    "mlx-lm",
    "mlx-lm",
    r"\biter {step}: val loss {val loss}",
    r"\biter {step}: train loss {train loss}(?:,.*?\blearning rate {lr})?(?:,.*\btrained tokens {trained tokens})?",
)
DEEPSPEED = console(
    "deepspeed",
    "DeepSpeed, DeepSpeed-Chat",
    r"\bsteps: {step} loss: {loss} iter time",
    r"\bepoch: \d+, step: {step},.*\bloss ?= ?{loss}",
    r"\[rank 0\] step={step},.*\blr=\[{lr}",
)
HF_STDOUT = Format(
    "hf-stdout",
    "printed dicts, as of the Hugging Face Trainer",
    shape="dicts",
    no_step="The Hugging Face Trainer prints epochs alone; its steps are in trainer_state.json in the output folder. "
    "Give that, or count epochs with step='epoch', --step epoch on the command line.",
)

FRAMEWORKS = (MEGATRON, FAIRSEQ, TORCHTITAN, OLMO, MAXTEXT, TORCHTUNE, LLM_FOUNDRY, MLX_LM, DEEPSPEED, HF_STDOUT)
