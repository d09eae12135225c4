"""A mixture of learning curves by MCMC: Domhan, Springenberg & Hutter, IJCAI 2015; blind to the schedule.

``y = sum_k w_k f_k(x) + noise``: eleven growing curves (table 1 of the paper), all parameters and weights sampled together by
an ensemble of walkers that starts from least-squares fits. Priors are flat, on curves that end above their start. The method
wants an accuracy that grows from 0 to 1 over epochs 1, 2, ...: y is one minus the loss over that of a uniform guess among
50,257 tokens, and x counts steps in usual distances between checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares

import bayes_tsl as bt
from bayes_tsl._common.validation import require
from bayes_tsl.forecasting.curve_fits import DRAWS, from_draws, usable_past
from benchmarks.forecasters import LEAST

Array = NDArray[np.float64]

UNIFORM = np.log(50_257)  # loss of a guess  [nats]
WALKERS, BURN_IN, KEPT = 100, 600, 3000  # of them and of their steps, as in the authors' code
THIN = 30  # steps from one that is kept to the next
BALL = 1e-6  # relative scatter of the walkers at the start


class Curve(NamedTuple):
    """A growing curve y(x, *parameters), and parameters to start from."""

    y: Callable[..., Array]
    start: tuple[float, ...]


CURVES = {
    "vapor pressure": Curve(lambda x, a, b, c: np.exp(a + b / x + c * np.log(x)), (-0.6, -0.5, 0.04)),
    "pow3": Curve(lambda x, c, a, p: c - a * x**-p, (0.8, 0.5, 0.1)),
    "log log linear": Curve(lambda x, a, b: np.log(a * np.log(x) + b), (0.1, 1.5)),
    "hill3": Curve(lambda x, top, p, k: top * x**p / (k**p + x**p), (0.77, 0.59, 2.5)),
    "log power": Curve(lambda x, a, b, c: a / (1.0 + (x / np.exp(b)) ** c), (0.77, 3.0, -0.5)),
    "pow4": Curve(lambda x, c, a, b, p: c - (a * x + b) ** -p, (0.8, 200.0, 1.0, 0.1)),
    "MMF": Curve(lambda x, top, low, k, p: top - (top - low) / (1.0 + (k * x) ** p), (0.7, 0.1, 0.01, 0.5)),
    "exp4": Curve(lambda x, c, a, b, p: c - np.exp(-a * x**p + b), (0.7, 0.8, -0.8, 0.3)),
    "Janoschek": Curve(lambda x, top, low, k, p: top - (top - low) * np.exp(-k * x**p), (0.73, 0.07, 0.35, 0.46)),
    "Weibull": Curve(lambda x, top, low, k, p: top - (top - low) * np.exp(-((k * x) ** p)), (0.7, 0.1, 0.01, 0.5)),
    "ilog2": Curve(lambda x, c, a: c - a / np.log(x + 1.0), (0.78, 0.43)),
}


class Mixture(NamedTuple):
    """Curves that can be fitted to a series.

    Attributes:
        curves: by order.
        x: checkpoint numbers of the past (point).
        y: growing values at them (point).
        end: the last number to forecast.
    """

    curves: tuple[Curve, ...]
    x: Array
    y: Array
    end: float

    def split(self, theta: Array) -> tuple[list[Array], Array, Array]:
        """Parameters of every curve (parameter, walker, 1), normalised weights (curve, walker, 1) and noise (walker)."""
        ends = np.cumsum([len(curve.start) for curve in self.curves])
        columns = theta.T[..., None]
        weights = columns[ends[-1] : -1]
        return np.split(columns[: ends[-1]], ends[:-1]), weights / weights.sum(axis=0), theta[:, -1]

    def values(self, theta: Array, x: Array) -> Array:
        """Every curve (curve, walker, point)."""
        return np.stack([curve.y(x, *part) for curve, part in zip(self.curves, self.split(theta)[0])])

    def mean(self, theta: Array, x: Array) -> Array:
        """The mixture (walker, point)."""
        return (self.split(theta)[1] * self.values(theta, x)).sum(axis=0)

    @np.errstate(all="ignore")  # walkers try parameters for which a curve does not exist
    def log_density(self, theta: Array) -> Array:
        """Of parameters, weights and noise, up to a constant (walker)."""
        each = self.values(theta, np.append(self.x, self.end))
        weights, noise = self.split(theta)[1:]
        error = (weights * each[..., :-1]).sum(axis=0) - self.y
        fit = -0.5 * (error**2).sum(axis=1) / noise**2 - len(self.y) * np.log(noise)
        allowed = (theta[:, -len(self.curves) - 1 :] > 0).all(axis=1) & grows(each).all(axis=0)
        return np.where(allowed & np.isfinite(fit), fit, -np.inf)


def grows(values: Array) -> NDArray[np.bool_]:
    """Whether a curve ends above its start, and within reason (...); the points are last."""
    return (values[..., -1] > values[..., 0]) & (values[..., -1] > 0.0) & (values[..., -1] < 100.0)


def mixture(losses: bt.LossTable, *, steps: ArrayLike, schedule: bt.Schedule | None = None, seed: int = 0) -> bt.Forecast:
    """The mixture of eleven curves."""
    past = usable_past(losses, steps=steps, schedule=schedule, least=LEAST, seed=seed)
    spacing = float(np.median(np.diff(past.step)))
    ahead = past.ahead / spacing
    every = Mixture(tuple(CURVES.values()), past.step / spacing, 1.0 - past.loss / UNIFORM, float(ahead[-1]))
    made, start = _started(every)
    theta = _walked(made, start, seed=seed)
    mean = made.mean(theta, ahead)
    noise = theta[:, -1:] * np.random.default_rng(seed).standard_normal(mean.shape)
    expected, observed = ((1.0 - y) * UNIFORM for y in (mean, mean + noise))
    return from_draws(past, expected=expected, observed=observed)


@np.errstate(all="ignore")  # a curve tried far out may overflow
def _started(every: Mixture) -> tuple[Mixture, Array]:
    """The curves that can be fitted alone, and where walkers start: these fits, equal weights and the noise about them."""
    fits = {curve: _fitted(curve, every) for curve in every.curves}
    ends = np.append(every.x, every.end)
    kept = tuple(curve for curve, best in fits.items() if grows(curve.y(ends, *best)))
    require(len(kept) > 0, "losses", "be fitted by one of the curves", "none", cure="Fit later in the run.")
    made = every._replace(curves=kept)
    start = np.concatenate([*(fits[curve] for curve in kept), np.full(len(kept), 10.0), [1.0]])
    start[-1] = np.std(made.mean(start[None], every.x)[0] - every.y)
    return made, start


def _fitted(curve: Curve, every: Mixture) -> Array:
    """Parameters by least squares."""
    return least_squares(_residuals, curve.start, args=(curve, every)).x


def _residuals(theta: Array, curve: Curve, every: Mixture) -> Array:
    return np.nan_to_num(curve.y(every.x, *theta) - every.y, nan=1e3, posinf=1e3, neginf=-1e3)


def _walked(made: Mixture, start: Array, *, seed: int) -> Array:
    """Draws of all parameters (draw, parameter)."""
    import emcee

    rng = np.random.RandomState(seed)
    count = max(WALKERS, 2 * len(start))
    sampler = emcee.EnsembleSampler(count, len(start), made.log_density, vectorize=True)
    sampler.random_state = rng.get_state()
    state = sampler.run_mcmc(start * (1.0 + BALL * rng.standard_normal((count, len(start)))), BURN_IN, store=False)
    sampler.run_mcmc(state, KEPT // THIN, thin_by=THIN)
    every = sampler.get_chain(flat=True)
    return every[np.linspace(0, len(every) - 1, DRAWS).astype(int)]
