"""The training example: what it trains on, that it is causal, and that a run stopped halfway ends as one that was not."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayes_tsl as bt

pytest.importorskip("optax", reason="needs the extra train")
pytest.importorskip("tokenizers", reason="needs the extra train")

import corpus
import gpt
import jax
import jax.numpy as jnp
import optax
import pack
import runs
import train

TINY = (
    "--layers 1 --width 16 --heads 2 --context 16 --batch 8 --sequences 8 --total 24 --warmup 4 --checkpoints 4 --save-every 9"
)
FILES = 60
PARAGRAPH = "This notice is in every file, and long enough that it counts as a paragraph that may be kept once only."


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, chance = tmp_path_factory.mktemp("made") / "texts", np.random.default_rng(0)
    folder.mkdir()
    words = ["".join(chance.choice(list("etaoinshrdlu"), length)) for length in chance.integers(2, 9, 200)]
    for number in range(FILES):
        one, two = (" ".join(chance.choice(words, 120)) for _ in range(2))
        (folder / f"page{number}.md").write_text(f"{one}\n\n{PARAGRAPH}\n")
        (folder / f"code{number}.py").write_text(f'"""{two}"""\n\n{"_".join(one.split()[:60])} = [\n"{one}"]\n')
        (folder / f"head{number}.h").write_text(f"/* {PARAGRAPH} */\n\nint {two};\n")
    return folder


@pytest.fixture(scope="module")
def data(texts: Path) -> Path:
    corpus.prepare(out=texts.parent / "data", texts=[texts], vocab=300, megabytes=10.0)
    return texts.parent / "data"


def asked(data: Path, out: Path, words: str = "") -> argparse.Namespace:
    return train.parser().parse_args(["--data", str(data), "--out", str(out), *TINY.split(), *words.split()])


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "one_go"
    train.train(asked(data, out))
    return out


def test_no_text_is_trained_on_and_tested_on(texts: Path, data: Path) -> None:
    found = list(corpus.collect([texts], characters=10**7))
    sides = {side: [text for text in found if corpus.side_of(text) == side] for side in ("train", "test")}
    assert {text.kind for text in sides["train"]} == {"prose", "code"}
    assert {text.kind for text in sides["test"]} == {"prose", "code", "ood"}
    trained, tested = ({text.file for text in sides[side] if text.kind != "ood"} for side in ("train", "test"))
    assert not trained & tested
    assert sum(PARAGRAPH in text.text for text in found if text.kind == "prose") == 1
    listed = {name for kind in corpus.TRAINED for name in (data / f"{kind}_train.txt").read_text().split("\n")}
    assert listed == trained


def test_a_file_of_another_version_is_on_the_same_side() -> None:
    sides = {corpus.side_of(corpus.Text("code", f"{place}/numpy/core.py", "")) for place in ("a", "b/c", "pip/_vendor")}
    assert len(sides) == 1


def test_docstrings_are_prose_and_the_rest_is_code() -> None:
    docstrings, code = corpus.parted('"""Of the module."""\nx = 1\ndef f():\n    """Of f,\n    at length."""\n    return x\n')
    assert docstrings == "Of the module.\n\nOf f,\nat length."
    assert code.split() == ["x", "=", "1", "def", "f():", "return", "x"]
    assert corpus.parted("no python (") == ("", "")


def test_manual_pages_lose_their_markup() -> None:
    page = '.\\" made by hand\n.TH LS 1\n.SH "NAME"\nls \\- list \\fBfiles\\fP\n.sp\n.B \\-a\n'
    assert corpus.without_markup(page).split() == ["NAME", "ls", "-", "list", "files", "-a"]


def test_a_corpus_is_the_same_each_time(texts: Path, data: Path, tmp_path: Path) -> None:
    again = corpus.prepare(out=tmp_path / "again", texts=[texts], vocab=300, megabytes=10.0)
    assert again == json.loads((data / "corpus.json").read_text())
    with pytest.raises(FileNotFoundError, match=r"data must be a folder with a corpus.json; got nowhere. Make one with corpus"):
        corpus.load(Path("nowhere"))


SHAPE = gpt.Shape(layers=2, width=16, heads=2, vocab=50)
TOKENS = np.random.default_rng(0).integers(1, 50, (4, 16))


@partial(jax.jit, static_argnames=("together", "dtype"))
def losses_of(tokens: np.ndarray, *, together: int = 4, dtype: type = jnp.float32) -> jax.Array:
    params = gpt.initial(jax.random.key(1), SHAPE)
    return gpt.token_losses(params, tokens, heads=2, end=0, together=together, dtype=dtype)


def test_a_later_token_changes_no_earlier_loss() -> None:
    before = losses_of(TOKENS)
    for position in (0, 5, 15):
        changed = TOKENS.copy()
        changed[:, position] = (changed[:, position] + 7) % 50
        moved = np.asarray(losses_of(changed) != before)
        assert not moved[:, :position].any()
        assert moved[:, position:].any(axis=0).all()


def test_an_untrained_model_knows_nothing_one_by_one_and_in_bfloat16_too() -> None:
    losses = losses_of(TOKENS)
    np.testing.assert_allclose(losses.mean(), np.log(50), atol=0.03)
    np.testing.assert_allclose(losses_of(TOKENS, together=1, dtype=jnp.bfloat16), losses, atol=0.02)


def test_rotated_queries_and_keys_know_their_distance_alone() -> None:
    turns = gpt.rotations(12, 8, jnp.float32)
    q, k = (gpt.rotated(np.random.default_rng(at).normal(size=8) * np.ones((1, 12, 1, 1)), turns)[0, :, 0] for at in (0, 1))
    np.testing.assert_allclose(q[3] @ k[1], q[10] @ k[8], rtol=1e-4)


def test_loss_falls_and_the_table_is_one_of_ours(run: Path) -> None:
    losses = bt.read_losses(run / "losses.csv.gz")
    assert losses.runs == ["one_go"]
    assert losses.test_sets == ["code", "ood", "prose"]
    assert (losses.frame.groupby(["test_set", "step"])["position"].apply(list).map(len) == 16).all()
    means = losses.select(test_set="prose").mean_losses()
    assert means.index[-1] == 24
    assert means.iloc[0] - means.iloc[-1] > 0.02, f"from {means.iloc[0]} to {means.iloc[-1]}"
    schedule = bt.schedules.from_frame(pd.read_csv(run / "schedule.csv"))
    np.testing.assert_allclose(losses.frame["lr"], schedule.lr(losses.frame["step"]), rtol=1e-7)
    np.testing.assert_array_equal(losses.frame["tokens"], losses.frame["step"] * 128)
    assert losses.frame["loss_se"].gt(0).all()
    settings = json.loads((run / "settings.json").read_text())
    assert settings["finished"]
    assert settings["parameters"] == gpt.count(gpt.initial(jax.random.key(0), gpt.Shape(1, 16, 2, 300)))


def test_a_run_that_was_stopped_ends_as_in_one_go(
    run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped at step 12, with a table that is ahead of the state, which was saved at 9."""
    out, write = tmp_path / "one_go", train.write_table

    def stop(table: pd.DataFrame, path: Path) -> None:
        write(table, path)
        if table["step"].max() == 12:
            raise KeyboardInterrupt

    monkeypatch.setattr(train, "write_table", stop)
    with pytest.raises(KeyboardInterrupt):
        train.train(asked(data, out))
    assert not json.loads((out / "settings.json").read_text())["finished"]
    monkeypatch.setattr(train, "write_table", write)
    train.train(asked(data, out))
    assert (out / "losses.csv.gz").read_bytes() == (run / "losses.csv.gz").read_bytes()
    with np.load(out / "state.npz") as ended, np.load(run / "state.npz") as expected:
        assert all((ended[name] == expected[name]).all() for name in expected)


def test_another_run_in_its_folder_is_refused(run: Path, data: Path) -> None:
    with pytest.raises(SystemExit, match=r"settings must be those that .* began with; got others .*'seed': 0.* Choose another"):
        train.train(asked(data, run, "--seed 1"))


@pytest.mark.parametrize(
    ("weighting", "half"), [("uniform", range(0)), ("head", range(2)), ("middle", range(2, 18)), ("tail", range(18, 20))]
)
def test_one_part_counts_half(weighting: str, half: range) -> None:
    weights = train.position_weights(weighting, 20)
    assert weights.mean() == pytest.approx(1.0)
    expected = np.where(np.isin(np.arange(20), half), 0.5, 1.0)
    np.testing.assert_allclose(weights / weights.max(), expected, rtol=1e-6)
    advance = train.advancing(lambda params, tokens: params + 0.0 * tokens, optax.sgd(1.0))
    first = train.State(jnp.zeros(20), optax.sgd(1.0).init(jnp.zeros(20)), [])
    after = advance(first, np.zeros((3, 20), np.float32), weights, 0.1, np.zeros(0)).params
    np.testing.assert_allclose(-after, 0.1 * weights / 20, rtol=1e-6)


def test_every_training_sequence_comes_once_before_any_comes_again(data: Path, tmp_path: Path) -> None:
    tokens, settings = corpus.load(data), asked(data, tmp_path, "--mixture 0.25")
    many = len(tokens.train["code"]) // 16 - 1
    taken = [train.sequence(tokens.train["code"], number, settings, "code").tobytes() for number in range(many)]
    assert len(set(taken)) > 0.95 * many
    again = [train.sequence(tokens.train["code"], number, settings, "code").tobytes() for number in range(many, 2 * many)]
    assert taken != again
    np.testing.assert_array_equal(train.batch_at(tokens, 5, settings), train.batch_at(tokens, 5, settings))


@pytest.mark.parametrize("mixture", [0.0, 0.2, 0.3125, 0.8, 1.0])
def test_a_batch_is_full_and_mixed_as_asked(data: Path, tmp_path: Path, mixture: float) -> None:
    made = corpus.load(data)
    marked = made._replace(train={"code": np.ones(10_000, np.uint16), "prose": np.zeros(10_000, np.uint16)})
    settings = asked(data, tmp_path, f"--mixture {mixture}")
    batches = [train.batch_at(marked, step, settings) for step in range(1, 51)]
    assert {batch.shape for batch in batches} == {(8, 16)}
    assert np.mean(batches) == pytest.approx(mixture, abs=1 / 400)


def test_checkpoints_are_early_and_then_even(tmp_path: Path) -> None:
    steps = train.checkpoint_steps(train.parser().parse_args(["--data", ".", "--out", "."]))
    assert len(steps) == 48
    assert steps[-1] == 1250
    assert set(np.diff(steps[8:])) <= {31, 32}
    assert (np.diff(steps) > 0).all()


def test_too_few_texts_are_named(data: Path, tmp_path: Path) -> None:
    made = corpus.load(data)
    few = made._replace(test={"prose": made.test["prose"][:100]}, train={"code": np.zeros(20, np.uint16), "prose": []})
    with pytest.raises(
        SystemExit, match=r"test set prose must have 8 sequences of 16 tokens; got 100 tokens. Lower --sequences"
    ):
        train.test_sets(few, asked(data, tmp_path))
    with pytest.raises(SystemExit, match=r"code must have two sequences of 16 tokens; got 20 tokens. Add texts."):
        train.batch_at(few, 1, asked(data, tmp_path))


@pytest.mark.parametrize("scale", runs.SCALES)
def test_the_runs_differ_and_can_be_asked_for(scale: str) -> None:
    asked = [train.parser().parse_args(["--data", ".", "--out", ".", *runs.command(name, scale)]) for name in runs.RUNS]
    assert len({str(one) for one in asked}) == len(runs.RUNS) >= 12
    for name, values in {"mixture": 3, "schedule": 3, "layers": 3, "weighting": 4, "seed": 2, "total": 2}.items():
        assert len({getattr(one, name) for one in asked}) == values


def test_finished_runs_are_skipped_and_joined(run: Path) -> None:
    assert runs.finished(run)
    runs.join(run.parent)
    joined = bt.read_losses(run.parent / "losses.csv.gz")
    pd.testing.assert_frame_equal(joined.frame, bt.read_losses(run / "losses.csv.gz").frame)
    assert set(pd.read_csv(run.parent / "schedules.csv")["run"]) == {"one_go"}


def test_what_is_packed_is_what_was_measured(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["pack.py", "--runs", str(run.parent), "--out", str(tmp_path)])
    pack.main()
    runs_of = pd.read_csv(tmp_path / "runs.csv", index_col="run")
    assert bt.schedules.parse(runs_of.loc["one_go", "schedule"]).lr(24) == pytest.approx(2e-4)
    assert runs_of.loc["one_go", ["mixture", "weighting", "context"]].tolist() == [0.5, "uniform", 16]
    axes = ["run", "test_set", "position", "step"]
    with xr.open_dataset(tmp_path / "losses.nc", engine="h5netcdf") as packed:
        back = packed.to_dataframe().sort_index()
    made = pd.read_csv(run / "losses.csv.gz").set_index(axes).sort_index()
    np.testing.assert_allclose(back["loss"], made["loss"], atol=5.1e-5)
    np.testing.assert_allclose(back["loss_se"], made["loss_se"], atol=5.1e-4)


def test_averages_and_noise_are_measured_beside_the_losses(run: Path, data: Path, tmp_path: Path) -> None:
    train.train(asked(data, tmp_path / "one_go", "--average 6 12"))
    made = bt.read_losses(tmp_path / "one_go" / "losses.csv.gz")
    pd.testing.assert_frame_equal(made.frame, bt.read_losses(run / "losses.csv.gz").frame)
    assert {span: part.steps.tolist() for span, part in made.averaged.items()} == {6.0: [6, 12, 18, 24], 12.0: [12, 18, 24]}
    assert made.gradient_noise is not None
    assert (made.gradient_noise["gradient_noise"] > 0).all()
    with np.load(tmp_path / "one_go" / "state.npz") as state:
        leaves = [state[f"arr_{at}"] for at in range(len(state) - 1)]
    params = jax.tree.leaves(gpt.initial(jax.random.key(0), gpt.Shape(1, 16, 2, 300)))
    many = len(params)
    for average in (leaves[-many:], leaves[-2 * many : -many]):
        assert all((own != last).any() for own, last in zip(average, leaves[:many]))


def test_a_branch_follows_its_run_and_then_decays(data: Path, tmp_path: Path) -> None:
    train.train(asked(data, tmp_path / "tried", "--schedule constant --branch one_go 12 8"))
    made = bt.read_losses(tmp_path / "tried" / "losses.csv.gz")
    assert made.branches == {"tried": ("one_go", 12.0)} or made.branches == {}
    rows = pd.read_csv(tmp_path / "tried" / "losses.csv.gz")
    assert set(rows["parent"]) == {"one_go"}
    assert rows["step"].min() == 13
    assert rows["step"].max() == 20
    assert pd.read_csv(tmp_path / "tried" / "schedule.csv").set_index("step")["lr"][[12, 20]].tolist() == [2e-3, 2e-4]
