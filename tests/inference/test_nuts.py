"""The sampler and the search for a mode on posteriors that are known, and on a start from which either could run away."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from bayes_tsl.inference import nuts as sampling
from bayes_tsl.inference.nuts import Settings, sample
from bayes_tsl.inference.preconditioning import laplace, whitening

SETTINGS = {"seed": 0, "chains": 2, "num_warmup": 200, "num_draws": 500, "target_accept": 0.9, "progress": False}


def narrow_and_wide() -> None:
    level = numpyro.sample("level", dist.Normal(3.0, 0.0005))
    numpyro.sample("slope", dist.Normal(1000.0 * (level - 3.0), 0.01))
    numpyro.sample("scale", dist.LogNormal(0.0, 1.0))


def test_known_moments_in_few_steps() -> None:
    with jax.enable_x64(True):
        start = {"level": 2.0, "slope": 1.0, "scale": 2.0}
        draws = sample(
            narrow_and_wide, coordinates=whitening(narrow_and_wide, start=start, dense=["level", "slope"]), **SETTINGS
        )
    level, slope = draws.sites["level"].ravel(), draws.sites["slope"].ravel()
    assert abs(level.mean() - 3.0) < 1e-4
    assert 0.8 < level.std() / 0.0005 < 1.2
    assert np.corrcoef(level, slope)[0, 1] > 0.99
    assert abs(np.log(draws.sites["scale"]).mean()) < 0.25
    assert draws.stats["n_steps"].mean() < 12


def pit_far_away() -> None:
    x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(0.0, 1.0))
    numpyro.factor("pit", jax.numpy.where(x > 30.0, x**4, 0.0))


def around(place: np.ndarray) -> None:
    numpyro.sample("x", dist.Normal(place, 1.0).to_event(1))


def test_a_second_posterior_of_the_same_shape_compiles_nothing() -> None:
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(lambda name, _, **more: compiled.append(name))
    try:
        for place in (np.zeros(3), np.full(3, 5.0), np.full(4, 5.0)):
            before = compiled.count("/jax/core/compile/backend_compile_duration")
            with jax.enable_x64(True):
                coordinates = whitening(around, place, start={"x": 0.0 * place}, dense=["x"])
                draws = sample(around, place, coordinates=coordinates, **SETTINGS)
            assert np.abs(draws.sites["x"].mean(axis=(0, 1)) - place).max() < 0.3
            new = compiled.count("/jax/core/compile/backend_compile_duration") - before
            assert (new == 0) == (place.tolist() == [5.0, 5.0, 5.0]), f"{new} compilations for {place}"
    finally:
        jax.monitoring.clear_event_listeners()


@pytest.mark.parametrize(("asked", "made"), [(100, 300), (10**6, 1000)])
def test_draws_are_made_until_they_are_enough(asked: int, made: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bayes_tsl.inference.diagnostics.MIN_ESS_PER_CHAIN", asked)
    with jax.enable_x64(True):
        coordinates = whitening(around, np.zeros(3), start={"x": np.zeros(3)}, dense=["x"])
        draws = sample(around, np.zeros(3), coordinates=coordinates, **SETTINGS | {"num_draws": "auto"})
    assert draws.sites["x"].shape == (*draws.stats["energy"].shape, 3) == (2, made, 3)


@pytest.mark.skipif(not sampling._MAPS.exists(), reason="memory maps are counted on Linux")
def test_compiled_programs_are_let_go_before_the_system_runs_out_of_maps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = jax.jit(lambda x: x + 1.0)
    for most, left in ((10**9, 1), (10, 0)):
        (tmp_path / "most").write_text(f"{most}\n")
        monkeypatch.setattr(sampling, "_MOST_MAPS", tmp_path / "most")
        kept(0.0)
        with jax.enable_x64(True):
            coordinates = whitening(around, np.zeros(3), start={"x": np.zeros(3)}, dense=["x"])
            sample(around, np.zeros(3), coordinates=coordinates, **SETTINGS)
        assert kept._cache_size() == left


def test_chains_stay_where_the_priors_are() -> None:
    with jax.enable_x64(True):
        coordinates = whitening(pit_far_away, start={"x": 11.9, "y": 0.0}, dense=["x"])
        draws = sample(pit_far_away, coordinates=coordinates, **SETTINGS)
    assert np.abs(draws.sites["x"]).max() < 6


def test_a_mode_is_sought_where_the_priors_are() -> None:
    with jax.enable_x64(True):
        mode, variance = laplace(pit_far_away, start={"x": 11.9, "y": 0.5})
    assert mode["x"] == pytest.approx(0.0, abs=1e-3)
    assert variance["y"] == pytest.approx(1.0, rel=0.2)


@pytest.mark.parametrize(("asked", "warmup"), [({"num_draws": "auto"}, 300), ({"num_draws": 1000}, 500)])
def test_a_warmup_is_shorter_where_draws_are_few(asked: dict, warmup: int) -> None:
    settings = Settings(seed=0, chains=4, progress=False, **asked)
    assert settings.num_warmup == warmup
    assert Settings(seed=0, chains=4, progress=False, num_warmup=200, **asked).num_warmup == 200
