"""Picture of a compute budget: final loss against the size of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bayes_tsl._common.intervals import interval_along
from bayes_tsl._common.validation import require_type
from bayes_tsl.decisions.allocation import Allocation
from bayes_tsl.plots.style import AHEAD, PAST, PROBS, mark_unconverged, one_axes, write_notices

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_allocation(allocation: Allocation, ax: Axes | None = None) -> Axes:
    """Final loss of every size that spends a compute budget, with the best size and its interval.

    Args:
        allocation: of ``allocate``.
        ax: to draw into; by default of a new figure.

    Example::

        import bayes_tsl as bt

        bt.plot_allocation(bt.allocate(scaling, flops=1e21)).figure.savefig("allocation.png")
    """
    require_type(allocation, "allocation", Allocation, cure="Make one with allocate(scaling, flops=...).")
    ax = one_axes(ax)
    size, losses = allocation.parameters, allocation.losses
    for prob, alpha in PROBS.items():
        ax.fill_between(
            size, *interval_along(losses, prob, axis=0), color=AHEAD, alpha=alpha, lw=0, label=f"{prob:.0%} interval"
        )
    ax.plot(size, losses.mean(axis=0), color=AHEAD, lw=1.8, label="expected loss")
    low, high = allocation.interval(0.9)
    ax.axvspan(low, high, ymax=0.03, color=PAST, lw=0, label="90% interval of the best size")
    ax.axvline(allocation.best, color=PAST, lw=0.8, ls=":")
    title = f"{allocation.flops:.2g} FLOPs: {allocation.best:.2g} parameters, {allocation.best_tokens:.2g} tokens"
    ax.set_title(title, loc="left", fontsize=10)
    ax.set(xscale="log", xlabel="parameters", ylabel="final loss (nats per token)")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=8)
    mark_unconverged(ax, allocation.converged)
    write_notices(ax, allocation.notices)
    return ax
