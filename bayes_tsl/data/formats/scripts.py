"""Consoles of small training scripts: nanoGPT and its kin."""

from __future__ import annotations

from bayes_tsl.data.formats.kinds import console

NANOGPT = console(  # its training loss of a step line is a mean over batches, that of an iter line of one
    "nanogpt",
    "nanoGPT, llama2.c",
    r"\bstep +{step}: train loss {train estimate}, val loss {val loss}",
    r"\biter +{step}: loss {loss}(?:,.*\blr:? {lr})?",
    r"^\s*{step} \| loss {loss} \| lr {lr}",
    r"tokens per iteration will be: {tokens a step}",
)
LLMC = console(  # what it prints, which counts the steps of training from 1, and main.log, from 0
    "llmc",
    "llm.c: console and main.log",
    r"\bstep +{step}/\d+ \| (?:train )?loss +{loss}(?:.*\| lr {lr})?",
    r"^\s*val loss +{val loss}",
    r"^s:{step} trl:{loss}(?: lr:{lr})?",
    r"^s:{step} tel:{val loss}",
    stepless="before next",
)
MODDED_NANOGPT = console(
    "modded-nanogpt",
    "modded-nanogpt",
    r"\bstep:{step}/\d+\b.*\bval_loss:{val_loss}",
    r"\bstep:{step}/\d+\b.*\btrain_loss:{train_loss}",
)
BUILD_NANOGPT = console(
    "build-nanogpt",
    "build-nanogpt: console and log.txt",
    r"\bstep +{step} \| loss: +{loss} \| lr:? {lr}",
    r"\bvalidation loss: {val loss}",
    r"^{step} val {val loss}$",
    r"^{step} train {loss}$",
    r"total desired batch size: {tokens a step}",
    stepless="next",
)
NANOCHAT = console(
    "nanochat",
    "nanochat: the first stage of a log, bits per byte",
    r"\bstep {step}(?:/\d+)? (?:\([\d.]+%\) )?\| (?:training )?loss: +{loss} ?\|(?:.*\blrm: {lrm})?",
    r"\bstep {step} \| validation bpb: +{val bpb}",
    r"\bstep {step} \| validation loss: +{val loss}",
    r"\btotal batch size:? {tokens a step}",
)
RWKV = console(
    "rwkv",
    "RWKV-LM: train_log.txt",
    r"^{step} {loss} {ppl} {lr} \d{4}-\d\d-\d\d ",
    clock="mini-epochs",
)

SCRIPTS = (NANOGPT, LLMC, MODDED_NANOGPT, BUILD_NANOGPT, NANOCHAT, RWKV)
