"""Parameters and tokens for a compute budget: the best size, its uncertainty, and what another size costs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayes_tsl._common.display import Facts, estimate, shown, warned
from bayes_tsl._common.intervals import draws_last, interval_along, require_prob
from bayes_tsl._common.validation import require, require_number
from bayes_tsl.inference.scaling import ScalingFit, require_scaling

Array = NDArray[np.float64]

FLOPS = 6.0  # per parameter and token, forward and backward (Kaplan et al., arXiv 2001.08361, section 2.1)
RATIOS = (0.3, 3000.0)  # tokens per parameter between which the best size is sought
_SIZES = 61


@shown
@dataclass(frozen=True, eq=False)
class Allocation:
    """Sizes that spend one compute budget; ``allocate`` makes it.

    Attributes:
        flops: the budget, ``6 parameters tokens``.
        parameters: sizes compared, increasing (size).
        losses: draws of the final loss of each, jointly, in nats per token (draw, size).
        notices: what the user should know, in words.
        converged: False where the chains of the fit did not agree.

    Example::

        best = bt.allocate(bt.fit_scaling(runs), flops=1e21)  # a table of finished runs
        print(best)
        bt.plot_allocation(best)
    """

    flops: float
    parameters: Array = field(repr=False)
    losses: Array = field(repr=False)
    notices: tuple[str, ...] = ()
    converged: bool = True

    def _facts(self) -> Facts:
        low, high = self.interval()
        best = {
            "parameters": f"{self.best:.3g} ({low:.3g} to {high:.3g}, 90% interval)",
            "tokens": f"{self.best_tokens:.3g}",
            "final loss": estimate(self.losses[:, self._best]),
        }
        return {"": f"best size for {self.flops:.3g} FLOPs", **best, **warned(self.notices, converged=self.converged)}

    @property
    def tokens(self) -> Array:
        """Tokens that each size is trained on (size)."""
        return self.flops / (FLOPS * self.parameters)

    @property
    def best(self) -> float:
        """Parameters of the size with the lowest expected loss."""
        return float(self.parameters[self._best])

    @property
    def best_tokens(self) -> float:
        """Tokens that this size is trained on."""
        return float(self.tokens[self._best])

    @property
    def optimum(self) -> Array:
        """Parameters of the size with the lowest loss of each draw (draw)."""
        return self.parameters[self.losses.argmin(axis=1)]

    def interval(self, prob: float = 0.9) -> tuple[float, float]:
        """Central credible interval of the optimum, in parameters.

        Raises:
            DataError: ``prob`` does not lie between 0 and 1.
        """
        require_prob(prob)
        low, high = np.quantile(self.optimum, [0.5 - prob / 2.0, 0.5 + prob / 2.0], method="inverted_cdf")
        return float(low), float(high)

    def costs(self, factor: float) -> Array:
        """Loss of a size ``factor`` times the best one above that of the best, at the same compute (draw), in nats.

        Raises:
            DataError: the factor is not positive, or that size lies outside those compared.
        """
        require_number(factor, "factor", low=0.0, cure="2 is twice the parameters.")
        low, high = self.parameters[[0, -1]] / self.best
        require(low <= factor <= high, "factor", f"lie between {low:.2g} and {high:.2g}", factor, cure="Choose one of these.")
        place = np.interp(np.log(factor * self.best), np.log(self.parameters), np.arange(len(self.parameters)))
        below, share = int(min(place, len(self.parameters) - 2)), place % 1.0 if place < len(self.parameters) - 1 else 1.0
        there = (1.0 - share) * self.losses[:, below] + share * self.losses[:, below + 1]
        return there - self.losses[:, self._best]

    def to_frame(self, prob: float = 0.9) -> pd.DataFrame:
        """One row per size: parameters, tokens, tokens_per_parameter, mean, lower, upper, regret and prob_lowest.

        The regret is the mean loss above that of the best size of each draw.
        """
        require_prob(prob)
        low, high = interval_along(self.losses, prob, axis=0)
        regret = self.losses - self.losses.min(axis=1, keepdims=True)
        columns = {
            "parameters": self.parameters,
            "tokens": self.tokens,
            "tokens_per_parameter": self.tokens / self.parameters,
            "mean": self.losses.mean(axis=0),
            "lower": low,
            "upper": high,
            "regret": regret.mean(axis=0),
            "prob_lowest": (regret == 0.0).mean(axis=0),
        }
        return pd.DataFrame(columns)

    @property
    def _best(self) -> int:
        return int(self.losses.mean(axis=0).argmin())

    def __str__(self) -> str:
        low, high = self.interval(0.9)
        lower, upper = np.quantile(self.losses[:, self._best], [0.05, 0.95])
        most = f"{self.flops:.3g} FLOPs: {self.best:.3g} parameters on {self.best_tokens:.3g} tokens"
        loss = f"loss {self.losses[:, self._best].mean():.3f} ({lower:.3f} to {upper:.3f})"
        return f"{most}, {loss}; the best size lies between {low:.3g} and {high:.3g} (90% intervals)"


def allocate(scaling: ScalingFit, *, flops: float, seed: int = 0) -> Allocation:
    """Parameters and tokens that spend a compute budget best: ``flops = 6 parameters tokens``.

    The loss is that at the end of training with the learning rate decayed, at the learning rates of the runs. What the scaling
    law does not explain is drawn jointly for all sizes, so that the interval of the best size has it.

    Args:
        scaling: scaling law of finished runs.
        flops: to spend, forward and backward.
        seed: of the draws.

    Raises:
        DataError: ``flops`` is not positive.

    Example::

        import bayes_tsl as bt

        scaling = bt.fit_scaling(finished)  # columns parameters, tokens, loss
        best = bt.allocate(scaling, flops=1e21)
        print(best)
        print("twice the parameters:", best.costs(2.0).mean(), "nats")
    """
    require_scaling(scaling)
    require_number(flops, "flops", low=0.0, cure="Give e.g. 1e21.")
    parameters = np.sqrt(flops / FLOPS / np.geomspace(RATIOS[1], RATIOS[0], _SIZES))
    drawn = scaling.losses(parameters=parameters, tokens=flops / (FLOPS * parameters), new=False, seed=seed)
    notices = (*scaling.notices, *scaling.diagnostics.problems)
    made = Allocation(float(flops), parameters, draws_last(drawn).T, notices, scaling.converged)
    beyond = scaling.beyond(parameters=made.best, tokens=made.best_tokens)
    return replace(made, notices=(*beyond, *notices))
