"""Losses from a model's outputs: exact whatever the batches, in every library; and the example that evaluates checkpoints."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

import bayes_tsl as bt
from bayes_tsl.data.collect import checkpoint, gradient_noise, position_losses, token_losses
from tests.conftest import refusal

HAS_TORCH = importlib.util.find_spec("torch") is not None
NAN, INF = float("nan"), float("inf")
RNG = np.random.default_rng(0)
LOSSES = RNG.gamma(2.0, 2.0, size=(50, 7))


def altered(values: np.ndarray, place: tuple[int, ...], value: float) -> np.ndarray:
    values = values.copy()
    values[place] = value
    return values


def test_means_and_standard_errors_are_those_of_numpy() -> None:
    found = position_losses(LOSSES)
    assert found.columns.tolist() == ["position", "loss", "loss_se", "count"]
    assert found["position"].tolist() == [*range(7)]
    assert found["count"].tolist() == [50] * 7
    np.testing.assert_allclose(found["loss"], LOSSES.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(found["loss_se"], LOSSES.std(axis=0, ddof=1) / np.sqrt(50), rtol=1e-13)


def test_what_is_not_measured_is_left_out_and_counted() -> None:
    losses = np.array([[3.0, NAN, 2.0, NAN], [5.0, 4.0, NAN, NAN], [4.0, NAN, 1.0, NAN]])
    found = position_losses(losses)
    assert found["position"].tolist() == [0, 1, 2]
    assert found["count"].tolist() == [3, 1, 2]
    assert found["loss"].tolist() == [4.0, 4.0, 1.5]
    np.testing.assert_allclose(found["loss_se"], [1 / np.sqrt(3), NAN, 0.5])


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_any_batches_give_the_same(data: st.DataObject) -> None:
    rows, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 5))
    cells = st.one_of(st.floats(0.0, 100.0), st.just(NAN))
    losses = np.array(data.draw(st.lists(st.lists(cells, min_size=width, max_size=width), min_size=rows, max_size=rows)))
    losses[0, 0] = 1.0
    cuts = sorted(data.draw(st.sets(st.integers(1, rows))))
    batches = [batch for batch in np.split(losses, cuts) if len(batch)]
    whole = position_losses(losses)
    assert_frame_equal(position_losses(iter(batches)), whole, rtol=1e-9, atol=1e-9)
    assert_frame_equal(position_losses(list(losses)), whole, rtol=1e-9, atol=1e-9)
    there = np.sum(~np.isnan(losses), axis=0)
    assert whole["count"].tolist() == there[there > 0].tolist()
    means = [np.mean(column[~np.isnan(column)]) for column in losses.T if not np.isnan(column).all()]
    np.testing.assert_allclose(whole["loss"], means, rtol=1e-12)


def test_more_sequences_than_are_taken_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = position_losses(LOSSES)
    monkeypatch.setattr("bayes_tsl.data.collect._CELLS", 21)
    assert_frame_equal(position_losses(LOSSES), whole, rtol=1e-13)


def test_lengths_may_differ_between_batches() -> None:
    found = position_losses([np.full((2, 3), 2.0), np.full((3, 5), 4.0), [1.0], np.zeros((0, 9))])
    assert found["count"].tolist() == [6, 5, 5, 3, 3]
    np.testing.assert_allclose(found["loss"], [17 / 6, 16 / 5, 16 / 5, 4.0, 4.0], rtol=1e-15)


def test_a_large_offset_costs_no_precision() -> None:
    spread = RNG.normal(size=(4000, 3)).astype(np.float32)
    high = (spread + np.float32(2**13)).astype(np.float32)
    exact = high.astype(np.float64)
    found = position_losses(np.array_split(high, 37))
    np.testing.assert_allclose(found["loss"], exact.mean(axis=0), rtol=1e-15)
    np.testing.assert_allclose(found["loss_se"], exact.std(axis=0, ddof=1) / np.sqrt(4000), rtol=1e-10)
    low = position_losses(iter(np.array_split(np.abs(high - 2**13), 37)))
    np.testing.assert_allclose(low["loss"], np.abs(exact - 2**13).mean(axis=0), rtol=1e-13)


def test_arrays_of_jax_and_pandas_and_lists_are_read_alike() -> None:
    half = LOSSES.astype(np.float32)
    whole = position_losses(half)
    for same in (jnp.asarray(half), pd.DataFrame(half), half.tolist(), [jnp.asarray(half)]):
        assert_frame_equal(position_losses(same), whole)
    rounded = jnp.asarray(half).astype(jnp.bfloat16)
    assert_frame_equal(position_losses(rounded), position_losses(np.asarray(rounded.astype(jnp.float32))))


def test_checkpoints_become_a_loss_table() -> None:
    rows = [checkpoint(LOSSES - step / 1e6, step=step, run="small", test_set="prose", lr=1e-3) for step in (1000, 2000)]
    table = bt.LossTable.from_frame(pd.concat(rows))
    assert (table.runs, table.test_sets, table.by_position) == (["small"], ["prose"], True)
    assert rows[0].columns.tolist() == ["run", "test_set", "step", "position", "loss", "lr", "loss_se"]
    np.testing.assert_allclose(table.curve().loc[1000.0], LOSSES.mean(axis=0) - 1e-3)
    alone = checkpoint([[3.0, 2.0]], step=0, tokens=4096)
    assert alone.columns.tolist() == ["run", "test_set", "step", "position", "loss", "tokens"]
    assert bt.LossTable.from_frame(alone).runs == ["run"]


BAD = [
    ([], "token losses must hold at least one loss; got none. Check the batches; a generator gives them only once."),
    (
        np.zeros((0, 4)),
        "token losses must hold at least one loss; got none. Check the batches; a generator gives them only once.",
    ),
    ([[NAN, NAN]], "token losses must hold at least one loss; got none. Check the batches; a generator gives them only once."),
    (
        np.array([1.0, 2.0]),
        "token losses must have axes (sequence, position); got 2. Give an array (sequence, position), or batches of such.",
    ),
    (
        [LOSSES, np.zeros((2, 2, 2))],
        "token losses must have axes (sequence, position); got 2, 2, 2 at batch=1. "
        "Give an array (sequence, position), or batches of such.",
    ),
    (
        [1.0, 2.0],
        "token losses must have axes (sequence, position); got none at batch=0. "
        "Give an array (sequence, position), or batches of such.",
    ),
    (
        3.0,
        "token losses must be an array or batches; got 'float'. Give an array (sequence, position), or batches of such.",
    ),
    (
        {"a": LOSSES},
        "token losses must be an array or batches; got 'dict'. Give an array (sequence, position), or batches of such.",
    ),
    ([LOSSES, [["low"]]], "token losses must be numbers; got 'str96' at batch=1. Give losses in nats."),
    (LOSSES > 1, "token losses must be numbers; got 'bool'. Give losses in nats."),
    (
        [[[1.0, 2.0], [1.0]]],
        "token losses must be an array; got lists of unequal lengths at batch=0. "
        "Fill up with NaN, or give each sequence by itself.",
    ),
    (
        [LOSSES, altered(LOSSES, (3, 2), INF)],
        "token loss must be finite or NaN; got inf at batch=1, sequence=3, position=2. "
        "Look what the model does there; NaN stands for padding.",
    ),
    (
        altered(LOSSES, (40, 6), -INF),
        "token loss must be finite or NaN; got -inf at sequence=40, position=6. "
        "Look what the model does there; NaN stands for padding.",
    ),
    ([[1.0, -2.0]], "mean loss must not be negative; got -2 at position=1. Give losses, not log probabilities."),
]


@pytest.mark.parametrize(("losses", "message"), BAD)
def test_what_cannot_be_used_is_one_line(losses: Any, message: str) -> None:
    with refusal(message):
        position_losses(losses)


def test_the_place_of_an_infinity_counts_from_the_first_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bayes_tsl.data.collect._CELLS", 21)
    with pytest.raises(bt.DataError, match=r"got inf at sequence=40, position=6\."):
        position_losses(altered(LOSSES, (40, 6), INF))


def test_a_generator_is_read_once() -> None:
    batches = (batch for batch in [LOSSES])
    position_losses(batches)
    with pytest.raises(bt.DataError, match=r"a generator gives them only once\.$"):
        position_losses(batches)


def test_a_step_is_checked_as_in_a_table() -> None:
    with refusal(
        "step must be finite and not negative; got -1 at run='run', test_set='test', position=0 (row 0 of checkpoint). "
        "Drop the row or correct it."
    ):
        checkpoint(LOSSES, step=-1)


LOGITS = RNG.normal(scale=4.0, size=(3, 6, 11)).astype(np.float32)
TOKENS = RNG.integers(0, 11, size=(3, 6))
MASK = np.arange(6) < np.array([[6], [4], [1]])


def from_torch(values: Any) -> Any:
    import torch

    return torch.as_tensor(values)


def half_from_jax(values: np.ndarray) -> Any:
    return jnp.asarray(values).astype(jnp.bfloat16)


def half_from_torch(values: np.ndarray) -> Any:
    import torch

    return torch.as_tensor(values).to(torch.bfloat16)


TORCH = pytest.mark.skipif(not HAS_TORCH, reason="torch is not installed")
LIBRARIES = [
    pytest.param(np.asarray, id="numpy"),
    pytest.param(jnp.asarray, id="jax"),
    pytest.param(from_torch, id="torch", marks=TORCH),
]
HALVES = [
    pytest.param(lambda values: values.astype(np.float16), id="numpy"),
    pytest.param(half_from_jax, id="jax"),
    pytest.param(half_from_torch, id="torch", marks=TORCH),
]
Make = Callable[[Any], Any]


def gathered(logits: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """As a textbook has it (sequence, position)."""
    log_probabilities = np.asarray(jax.nn.log_softmax(logits, axis=-1))
    return -np.take_along_axis(log_probabilities[:, :-1], tokens[:, 1:, None], axis=-1)[..., 0]


@pytest.mark.parametrize("make", LIBRARIES)
def test_losses_are_gathered_log_probabilities(make: Make) -> None:
    losses = token_losses(make(LOGITS), make(TOKENS))
    assert type(losses) is type(make(LOGITS))
    np.testing.assert_allclose(losses, gathered(LOGITS, TOKENS), rtol=1e-5, atol=1e-6)
    mixed = token_losses(make(LOGITS), TOKENS)
    np.testing.assert_array_equal(mixed, losses)


@pytest.mark.parametrize("make", LIBRARIES)
def test_padding_is_not_measured(make: Make) -> None:
    whole = np.asarray(token_losses(make(LOGITS), make(TOKENS)))
    padded = token_losses(make(LOGITS), make(TOKENS), mask=make(MASK.astype(np.int32)))
    np.testing.assert_array_equal(padded, np.where(MASK[:, 1:], whole, NAN))
    assert position_losses(padded)["count"].tolist() == [2, 2, 2, 1, 1]


@pytest.mark.parametrize("half", HALVES)
def test_half_precision_is_summed_in_single(half: Make) -> None:
    logits = half(RNG.normal(size=(1, 3, 4000)).astype(np.float32))
    losses = token_losses(logits, np.array([[5, 17, 3999]]))
    exact = np.asarray(logits.float() if hasattr(logits, "float") else logits).astype(np.float32)
    assert "float32" in str(losses.dtype)
    np.testing.assert_allclose(losses, gathered(exact, np.array([[5, 17, 3999]])), rtol=2e-6)


@pytest.mark.parametrize("make", LIBRARIES)
def test_large_logits_do_not_overflow_and_no_loss_is_negative(make: Make) -> None:
    logits = np.zeros((1, 3, 4), np.float32)
    logits[0, 0, 2], logits[0, 1] = 1e4, [-1e30, 200.0, -INF, 200.0]
    losses = np.asarray(token_losses(make(logits), np.array([[0, 2, 1]])))
    np.testing.assert_allclose(losses, [[0.0, np.log(2.0)]], rtol=1e-6)


@pytest.mark.parametrize("make", LIBRARIES)
def test_what_a_model_got_wrong_is_not_taken_for_padding(make: Make) -> None:
    logits = np.zeros((2, 3, 4), np.float32)
    logits[1, 0, 3] = NAN
    losses = token_losses(make(logits), np.zeros((2, 3), int))
    with pytest.raises(bt.DataError, match=r"^token loss must be finite or NaN; got inf at sequence=1, position=0\."):
        position_losses(losses)


@pytest.mark.parametrize("make", [LIBRARIES[0], LIBRARIES[2]])
def test_double_precision_stays(make: Make) -> None:
    logits = RNG.normal(size=(2, 4, 5))
    shifted = np.exp(logits[:, :-1]) / np.exp(logits[:, :-1]).sum(axis=-1, keepdims=True)
    exact = -np.log(np.take_along_axis(shifted, TOKENS[:2, 1:4, None] % 5, axis=-1)[..., 0])
    np.testing.assert_allclose(token_losses(make(logits), TOKENS[:2, :4] % 5), exact, rtol=1e-13)


def test_jax_may_compile_and_differentiate() -> None:
    losses = token_losses(LOGITS, TOKENS, mask=MASK)
    compiled = jax.jit(lambda *arrays: token_losses(arrays[0], arrays[1], mask=arrays[2]))(LOGITS, TOKENS, MASK)
    np.testing.assert_allclose(compiled, losses, rtol=1e-5, atol=1e-6)
    gradient = jax.grad(lambda logits: token_losses(logits, TOKENS).sum())(jnp.asarray(LOGITS))
    chosen = np.eye(11)[TOKENS[:, 1:]]
    np.testing.assert_allclose(gradient[:, :-1], np.asarray(jax.nn.softmax(LOGITS[:, :-1])) - chosen, atol=1e-5)


IDS = "Give ids as the model was given them, padding too, and tell padding by mask."
BAD_LOGITS = [
    (
        {"logits": LOGITS[0]},
        "logits must have axes (sequence, position, vocabulary); got 6, 11 as their lengths. "
        "Give whole sequences, of two tokens or more.",
    ),
    (
        {"logits": LOGITS[:, :1], "tokens": TOKENS[:, :1]},
        "logits must have axes (sequence, position, vocabulary); got 3, 1, 11 as their lengths. "
        "Give whole sequences, of two tokens or more.",
    ),
    (
        {"tokens": TOKENS[:, 1:]},
        "tokens must have axes (sequence, position) of lengths 3, 6; got 3, 5. Give those that belong to the logits.",
    ),
    (
        {"mask": MASK[:, 1:]},
        "mask must have axes (sequence, position) of lengths 3, 6; got 3, 5. Give those that belong to the logits.",
    ),
    ({"tokens": TOKENS.astype(np.float32)}, f"tokens must be whole numbers; got 'float32'. {IDS}"),
    (
        {"tokens": altered(TOKENS, (0, 4), -100)},
        f"token must lie between 0 and 10; got -100 at sequence=0, position=4. {IDS}",
    ),
    (
        {"tokens": altered(TOKENS, (1, 2), 11)},
        f"token must lie between 0 and 10; got 11 at sequence=1, position=2. {IDS}",
    ),
    (
        {"mask": MASK[:, ::-1]},
        "mask must start with a token; got 1, 2 as sequences that start with padding. "
        "Pad on the right, so that every sequence starts at its first position.",
    ),
]


@pytest.mark.parametrize("make", LIBRARIES)
@pytest.mark.parametrize(("changed", "message"), BAD_LOGITS)
def test_what_does_not_fit_is_one_line(make: Make, changed: dict[str, np.ndarray], message: str) -> None:
    given = {"logits": LOGITS, "tokens": TOKENS} | changed
    with refusal(message):
        token_losses(**{name: make(np.ascontiguousarray(values)) for name, values in given.items()})


def test_no_library_is_imported() -> None:
    code = "import bayes_tsl.data.collect, sys; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.fixture(scope="module")
def pythia() -> Any:
    """The example, where what it needs is installed."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    import evaluate_pythia

    return evaluate_pythia


@pytest.fixture(scope="module")
def tiny(pythia: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three revisions of a tiny model with random weights, and of a text."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    words = ["the", "loss", "of", "a", "long", "text", "falls", "with", "its", "position"]
    known = Tokenizer(models.WordLevel({word: number for number, word in enumerate([*words, "?"])}, unk_token="?"))
    known.pre_tokenizer = pre_tokenizers.Whitespace()
    config = GPTNeoXConfig(
        vocab_size=16,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=12,
    )
    for step in (1, 2, 4):
        torch.manual_seed(step)
        GPTNeoXForCausalLM(config).save_pretrained(folder / "tiny" / f"step{step}")
        PreTrainedTokenizerFast(tokenizer_object=known, unk_token="?").save_pretrained(folder / "tiny" / f"step{step}")
    (folder / "prose.txt").write_text(" ".join(RNG.choice(words, size=100)))
    return folder


def run(pythia: Any, folder: Path, revisions: str, *more: object) -> None:
    given = ["--model", folder / "tiny", "--revisions", revisions, "--dataset", folder / "prose.txt"]
    settings = ["--out", folder / "losses.csv", "--length", 8, "--batch", 5, *more]
    pythia.main([str(word) for word in given + settings])


def test_checkpoints_are_evaluated_and_none_twice(
    pythia: Any, tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(pythia, tiny, "step1,step2")
    assert capsys.readouterr().out == f"evaluated 2 revisions; {tiny / 'losses.csv'} has them all\n"
    losses = bt.read_losses(tiny / "losses.csv")
    assert (losses.runs, losses.test_sets, losses.steps.tolist()) == (["tiny"], ["prose"], [1.0, 2.0])
    np.testing.assert_allclose(losses.curve(), by_hand(tiny, "step1", "step2"), rtol=1e-5)
    assert losses.frame["loss_se"].between(0.001, 1.0).all()

    before = (tiny / "losses.csv").read_bytes()
    with monkeypatch.context() as nothing:
        nothing.setattr(pythia, "load", None)
        nothing.setattr(pythia, "cut", None)
        run(pythia, tiny, "step2,step1")
    assert capsys.readouterr().out.startswith("evaluated 0 revisions; ")
    assert (tiny / "losses.csv").read_bytes() == before

    run(pythia, tiny, "step1,step4")
    assert capsys.readouterr().out.startswith("evaluated 1 revisions; ")
    longer = bt.read_losses(tiny / "losses.csv")
    assert longer.steps.tolist() == [1.0, 2.0, 4.0]
    np.testing.assert_array_equal(longer.until(2).curve(), losses.curve())


def by_hand(folder: Path, *revisions: str) -> list[np.ndarray]:
    """Mean loss by position of each revision, from the whole text at once."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    curves = []
    for revision in revisions:
        place = folder / "tiny" / revision
        ids = AutoTokenizer.from_pretrained(place)((folder / "prose.txt").read_text())["input_ids"]
        tokens = np.array(ids[:96]).reshape(12, 8)
        with torch.no_grad():
            logits = AutoModelForCausalLM.from_pretrained(place)(input_ids=torch.as_tensor(tokens)).logits
        curves.append(gathered(logits.numpy(), tokens).mean(axis=0))
    return curves


def test_a_revision_that_fails_leaves_those_before(pythia: Any, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load, out = pythia.load, tiny / "broken.csv"
    monkeypatch.setattr(pythia, "load", lambda place, length: 1 / 0 if "step2" in str(place) else load(place, length))
    with pytest.raises(ZeroDivisionError):
        run(pythia, tiny, "step1,step2", "--out", out)
    assert bt.read_losses(out).steps.tolist() == [1.0]
    assert not list(tiny.glob(".*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--revisions", "main"], "revisions must be named by their step; got 'main'. Write them like step1000,step2000."),
        (["--revisions", "step3"], "revisions must be folders of {0}/tiny; got 'step3'. Check the name."),
        (["--dataset", "{0}/gone.txt"], "dataset must exist; got '{0}/gone.txt'. Check the path."),
        (["--length", "101"], "dataset must have 101 tokens or more; got 100 in {0}/prose.txt. Choose a longer text."),
        (["--length", "13"], "length must be at most 12, the context of the model; got 13. Choose a smaller --length."),
        (["--length", "1"], "length must be 2 or more and batch 1; got 1 and 5. Choose larger ones."),
        (["--out", "{0}/no/a.csv"], "out must be a csv file in a folder that exists; got '{0}/no/a.csv'. Choose another."),
        (["--out", "{0}/old.csv"], "length must be as before, 6; got 8. Keep it, or choose another --out."),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(
    options: list[str], message: str, pythia: Any, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint(np.ones((2, 5)), step=1, run="tiny", test_set="prose").to_csv(tiny / "old.csv", index=False)
    with pytest.raises(SystemExit) as stop:
        run(pythia, tiny, "step2", "--out", tiny / "new.csv", *(option.format(tiny) for option in options))
    assert stop.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {message.format(tiny)}"
    assert not (tiny / "new.csv").exists()


GRADIENTS = [RNG.normal(size=6) for _ in range(5)]


def adam_of_optax() -> Any:
    optax = pytest.importorskip("optax", reason="needs the extra train")
    params = {"a": np.zeros(4), "b": np.zeros(2)}
    optimizer = optax.chain(optax.clip(10.0), optax.adamw(1e-3, b2=0.9))
    state = optimizer.init(params)
    for gradient in GRADIENTS:
        _, state = optimizer.update({"a": gradient[:4], "b": gradient[4:]}, state, params)
    return state


def adam_of_torch() -> Any:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    params = [torch.zeros(4, requires_grad=True), torch.zeros(2, requires_grad=True), torch.zeros(3, requires_grad=True)]
    optimizer = torch.optim.AdamW([{"params": params[:1]}, {"params": params[1:]}], lr=1e-3, betas=(0.5, 0.9))
    for gradient in GRADIENTS:
        params[0].grad, params[1].grad = (torch.tensor(part, dtype=torch.float32) for part in (gradient[:4], gradient[4:]))
        optimizer.step()
    return optimizer


@pytest.mark.parametrize(("make", "b2"), [(adam_of_optax, 0.9), (adam_of_torch, None)])
def test_gradient_noise_is_the_sum_of_roots_of_unbiased_second_moments(make: Callable[[], Any], b2: float | None) -> None:
    moment = np.zeros(6)
    for gradient in GRADIENTS:
        moment = 0.9 * moment + 0.1 * gradient**2
    assert gradient_noise(make(), b2=b2) == pytest.approx(np.sqrt(moment / (1 - 0.9**5)).sum(), rel=1e-5)


def test_an_optimizer_without_second_moments_is_refused() -> None:
    with refusal("optimizer must hold second moments; got 'dict'. Give an optimizer of Adam's kind after its first step."):
        gradient_noise({})
    with refusal("b2 must lie between 0 and 1; got None. Give the decay of Adam's second moment, e.g. b2=0.95."):
        gradient_noise(adam_of_optax())


def test_what_was_measured_beside_a_checkpoint_goes_with_its_rows() -> None:
    plain = checkpoint(LOSSES, step=100, gradient_noise=3.5)
    averaged = checkpoint(LOSSES - 0.1, step=100, averaged=50)
    table = bt.LossTable.from_frame(pd.concat([plain, averaged]))
    assert table.mean_losses()[100.0] == pytest.approx(LOSSES.mean())
    assert table.averaged[50.0].mean_losses()[100.0] == pytest.approx(LOSSES.mean() - 0.1)
    assert table.gradient_noise is not None
    assert table.gradient_noise.to_dict("records") == [{"run": "run", "step": 100.0, "gradient_noise": 3.5}]
