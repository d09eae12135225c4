"""Structure of the model, by tracing it; and its density, against a plain multivariate normal."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import handlers
from numpyro.infer.util import log_density
from scipy import stats

import bayes_tsl as bt
from bayes_tsl.model.coefficients import NORMALS, draw_coefficients
from bayes_tsl.model.design import PADDING, Design, make_design, padded
from bayes_tsl.model.position_law import mean_shape
from bayes_tsl.model.priors import Prior, Priors, lognormal, normal
from bayes_tsl.model.single_run import JITTER, mean_over_positions, model, parameters, trend, variances
from tests.conftest import ORIGIN, TRUTH

pytestmark = pytest.mark.filterwarnings("ignore::bayes_tsl.Notice")


@pytest.fixture(scope="module")
def design(simulation: bt.Simulation, schedule: bt.Schedule) -> Design:
    return make_design(simulation.losses.until(ORIGIN), schedule)[0]


@pytest.fixture(scope="module")
def sites(design: Design) -> dict[str, np.ndarray]:
    weight = np.random.default_rng(0).gamma(2.0, 0.5, len(design.step))
    return {name: np.asarray(value) for name, value in TRUTH.items()} | {"weight": weight} | Priors().fixed()


def full_covariance(design: Design, sites: dict[str, np.ndarray]) -> np.ndarray:
    """Covariance of all estimates in the order (step, coefficient), written out term by term."""
    spread = variances(design, sites)
    steps = len(design.step)
    covariance = np.zeros((steps, 3, steps, 3))
    for t in range(steps):
        own = np.diag([spread.gap[t] + JITTER, spread.rate[t] + JITTER, spread.noise[t] + JITTER])
        covariance[t, :, t, :] = design.estimates.covariance[t] + own
    covariance[:, 2, :, 2] += np.asarray(spread.drift)
    return covariance.reshape(3 * steps, 3 * steps)


def test_sites_are_the_priors_and_the_weights(design: Design) -> None:
    trace = handlers.trace(handlers.seed(model, 0)).get_trace(design, Priors())
    latent = {name for name, site in trace.items() if site["type"] == "sample" and not site["is_observed"]}
    observed = {name for name, site in trace.items() if site["type"] == "sample" and site["is_observed"]}
    assert latent == set(Priors.__dataclass_fields__) - set(Priors().fixed()) | {"weight"}
    assert observed == {"log_gap_estimate", "log_rate_estimate", "mean_estimate"}
    assert trace["weight"]["value"].shape == design.step.shape


def test_mean_only_has_no_gap_and_no_rate(simulation: bt.Simulation, schedule: bt.Schedule) -> None:
    losses = bt.LossTable.from_frame(simulation.losses.mean_losses().reset_index())
    design = make_design(losses, schedule)[0]
    trace = handlers.trace(handlers.seed(model, 0)).get_trace(design, Priors())
    assert not [name for name in trace if name.startswith(("gap_", "rate_", "log_"))]
    assert "mean_estimate" in trace


def test_likelihood_is_the_joint_normal(design: Design, sites: dict[str, np.ndarray]) -> None:
    with jax.enable_x64(True):
        trace = handlers.trace(handlers.substitute(model, data=sites)).get_trace(design, Priors())
        chained = sum(float(site["fn"].log_prob(site["value"]).sum()) for site in trace.values() if site.get("is_observed"))
        law = trend(design.axis, sites)
        mean = np.stack([law.log_gap, law.log_rate, mean_over_positions(law, design.mean_polynomial)], axis=1).ravel()
        joint = stats.multivariate_normal(mean, full_covariance(design, sites)).logpdf(design.estimates.coefficients.ravel())
    assert chained == pytest.approx(joint, abs=1e-6)


def test_gradient_is_that_of_finite_differences(design: Design, sites: dict[str, np.ndarray]) -> None:
    with jax.enable_x64(True):
        values = {name: jnp.asarray(value) for name, value in sites.items()}

        @jax.jit
        def density(values: dict[str, jax.Array]) -> jax.Array:
            return log_density(model, (design, Priors()), {}, values)[0]

        slope = jax.jit(jax.grad(density))(values)
        for name in parameters(design, Priors()):
            width = 1e-6 * max(abs(float(values[name])), 1e-3)
            up, down = (density(values | {name: values[name] + sign * width}) for sign in (1, -1))
            assert float(slope[name]) == pytest.approx(float(up - down) / (2 * width), rel=2e-4, abs=1e-3), name


def test_padding_adds_a_constant_to_the_density(design: Design, sites: dict[str, np.ndarray]) -> None:
    longer, steps = padded(design), len(design.step)
    assert len(longer.step) % PADDING == 0
    assert len(longer.step) > steps
    assert longer.by_position

    def density(seen: Design, values: dict[str, np.ndarray]) -> float:
        weight = np.concatenate([values["weight"], np.ones(len(seen.step) - steps)])
        return float(log_density(model, (seen, Priors()), {}, values | {"weight": weight})[0])

    with jax.enable_x64(True):
        other = sites | {"floor_slope": np.asarray(-0.2), "drift_scale": np.asarray(0.1), "gap_noise": np.asarray(0.05)}
        apart = [density(seen, other) - density(seen, sites) for seen in (design, longer)]
    assert abs(apart[0]) > 1.0
    assert apart[1] == pytest.approx(apart[0], abs=1e-4)


def test_coefficients_put_back_have_the_conditional_mean_and_spread(design: Design, sites: dict[str, np.ndarray]) -> None:
    draws = 4000
    with jax.enable_x64(True):
        normals = np.random.default_rng(0).standard_normal((draws, NORMALS, len(design.step)))
        drawn = jax.jit(jax.vmap(lambda one: draw_coefficients(design, {}, sites, one)))(normals)
        law, spread = trend(design.axis, sites), variances(design, sites)
        mean = np.stack([law.log_gap, law.log_rate, mean_over_positions(law, design.mean_polynomial)], axis=1).ravel()
        floor, shape = drawn.floor, mean_shape(drawn.rate, design.mean_polynomial)
    drawn_mean = np.asarray(floor + drawn.gap * shape)
    prior = full_covariance(design, sites)
    steps = len(design.step)
    latent = np.zeros((steps, 3, steps, 3))
    for k, variance in enumerate((spread.gap, spread.rate, spread.noise)):
        latent[np.arange(steps), k, np.arange(steps), k] = variance
    latent[:, 2, :, 2] += np.asarray(spread.drift)
    latent = latent.reshape(3 * steps, 3 * steps)
    gain = latent @ np.linalg.inv(prior)
    expected = (mean + gain @ (design.estimates.coefficients.ravel() - mean)).reshape(steps, 3)
    sd = np.sqrt(np.diag(latent - gain @ latent)).reshape(steps, 3)
    got = np.stack([np.log(drawn.gap), np.log(drawn.rate), drawn_mean], axis=-1)
    assert np.abs((got.mean(axis=0) - expected) / sd).max() < 5 / np.sqrt(draws)
    np.testing.assert_allclose(got.std(axis=0), sd, rtol=0.08)


def test_priors_save_as_text() -> None:
    priors = Priors(heat=lognormal(0.2, 0.3))
    assert Priors.from_json(priors.to_json()) == priors
    assert normal(1.0, 2.0).distribution(3.0).mean == 4.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Prior("cauchy", 0.0, 1.0), "family must be one of 'normal', 'lognormal', 'fixed'; got 'cauchy'."),  # type: ignore[arg-type]
        (lambda: lognormal(-1.0, 1.0), "centre must be a number above 0; got -1."),
        (lambda: normal(0.0, 0.0), "sd must be a number above 0; got 0."),
    ],
)
def test_a_wrong_prior_is_refused(make, message: str) -> None:
    with pytest.raises(bt.DataError, match=f"^{message}$"):
        make()
