"""A report that people act on: one page that opens from disk, and the same content as JSON.

The page is filled from the tree of ``content`` and from pictures, drawn once: their colours are names that the page gives a
value, for a light screen and a dark one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from html import escape
from importlib.resources import files
from io import StringIO
from pathlib import Path

import jinja2
import pandas as pd

from bayes_tsl._common.digits import decimals
from bayes_tsl._common.dims import STEP
from bayes_tsl._common.display import Facts, counted, shown
from bayes_tsl._common.files import whole_files
from bayes_tsl._common.intervals import require_prob
from bayes_tsl._common.validation import file_path, require, show
from bayes_tsl.data.loss_table import LossTable, require_losses
from bayes_tsl.decisions.costs import Cost
from bayes_tsl.decisions.frontier import Frontier
from bayes_tsl.decisions.plans import BestPlan
from bayes_tsl.decisions.stopping import Stopping
from bayes_tsl.forecasting.alternatives import WhatIf
from bayes_tsl.forecasting.distribution import Forecast
from bayes_tsl.inference.posterior import Fit
from bayes_tsl.plots.decisions import plot_best_plan, plot_budget, plot_frontier, plot_stopping
from bayes_tsl.plots.forecasts import plot_forecast, plot_what_if
from bayes_tsl.plots.positions import plot_coefficients, plot_positions
from bayes_tsl.plots.style import INKS, figure_of
from bayes_tsl.reporting.content import Tree, contents, json_text

_PAGE = "report.html"
_SIZE = (5.6, 3.5)  # inches, at which print is of one size with the page's on a telephone


@shown
@dataclass(frozen=True)
class Report:
    """What ``report`` makes.

    Attributes:
        contents: all that the page says, as numbers under their names and sentences.
        pictures: SVG elements by the name of the section that they belong to.

    Example::

        page = bt.report(fit, fit.forecast([2000, 2500]), target=3.5)
        page.save("report.html")
    """

    contents: Tree
    pictures: dict[str, str] = field(repr=False)

    def _facts(self) -> Facts:
        tree = self.contents
        answer, *_ = tree["answers"]
        checks = {} if tree["converged"] else {"chains": "NOT CONVERGED"}
        return {"": f"{tree['run']} on {tree['test_set']}", "answer": answer, **checks, "pictures": counted(self.pictures)}

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escape(self.html)}" style="width: 100%; height: 40rem; border: 0"></iframe>'

    @property
    def html(self) -> str:
        """The page: no script, nothing fetched."""
        environment = jinja2.Environment(
            autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        environment.filters |= {"show": _cell, "known": _known}
        page = environment.from_string((files("bayes_tsl.reporting") / _PAGE).read_text(encoding="utf-8"))
        return page.render(**self.contents, pictures=self.pictures, decimals=decimals)

    @property
    def json(self) -> str:
        """The content for scripts; what is infinite or unknown is null."""
        return json_text(self.contents)

    def save(self, path: str | Path) -> None:
        """Write the page to ``path`` and the content beside it, under the same name with the ending json; both or neither.

        Raises:
            DataError: ``path`` does not end in html, or its folder is missing.
        """
        path = file_path(path)
        require(path.suffix == ".html", "path", "end in .html", path.name, cure="Its JSON is written beside it.")
        with whole_files(path.parent) as beside:
            (beside / path.name).write_text(self.html, encoding="utf-8")
            (beside / path.with_suffix(".json").name).write_text(self.json, encoding="utf-8")


def report(
    fit: Fit,
    ahead: Forecast,
    *,
    losses: LossTable | None = None,
    target: float | None = None,
    cost: Cost | None = None,
    stopping: Stopping | None = None,
    best: BestPlan | None = None,
    frontier: Frontier | None = None,
    moved: pd.DataFrame | None = None,
    title: str | None = None,
    comment: str | None = None,
    prob: float = 0.9,
) -> Report:
    """What to do with a run, where it will land, when it reaches a target and for what money, and how far to trust all that.

    Args:
        fit: what the past of one run says.
        ahead: its forecast.
        losses: measurements of the run, the later ones to compare with the forecast.
        target: a loss to reach, in nats per token.
        cost: what further steps cost.
        stopping: what ``stop_or_continue`` returned; the report recommends its step.
        best: what ``best_plan`` returned; the report recommends it where there is no ``stopping``.
        frontier: what ``budget_frontier`` returned.
        moved: what ``prior_sensitivity`` returned.
        title: heading of the page; by default the run and its test set.
        comment: a paragraph below the heading.
        prob: mass of the intervals, and how sure to be of the target.

    Raises:
        DataError: several runs, a forecast of another run, a title or comment that is no text, a number out of its range, or
            a deadline before the first step of the forecast.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> ahead = bt.forecast(example_fit(), steps=[1500, 2000, 2500])
    >>> page = report(example_fit(), ahead)
    >>> round(page.contents["last"]["mean"], 2), page.contents["converged"]
    (3.48, False)
    """
    require_prob(prob)
    for name, text in (("title", title), ("comment", comment)):
        require(text is None or isinstance(text, str), name, "be a text", text, cure="Leave it out if there is none.")
    ahead.require_one_curve()
    ahead = replace(ahead, positions=None)  # the page is about their mean
    same = (ahead.run, ahead.test_set) == (fit.run, fit.test_set)
    cure = "Make it with forecast(fit, ...)."
    require(same, "ahead", f"be of run {fit.run!r} on {fit.test_set!r}", (ahead.run, ahead.test_set), cure=cure)
    later, last_curve = _measured(losses, ahead)
    tree = contents(
        fit,
        ahead,
        later=later,
        target=target,
        cost=cost,
        stopping=stopping,
        best=best,
        frontier=frontier,
        moved=moved,
        title=title,
        comment=comment,
        prob=prob,
    )
    bare, observed = replace(ahead, notices=()), later[later.index <= ahead.steps[-1]]  # the page itself lists the notices
    course = partial(plot_forecast, bare, observed=observed if len(observed) else None, target=target, schedule=fit.schedule)
    shown = {
        "forecast": _svg(_forecast_label(tree), course, heights=(3.0, 1.0)),
        "coefficients": _svg(
            "Coefficients of the law over training, and their forecast.",
            partial(plot_coefficients, fit, bare),
            heights=[2.5] * len(tree["coefficients"]),
        ),
    }
    if tree["positions"]:
        label = "Expected loss by token position, now and at the end."
        shown["positions"] = _svg(label, partial(plot_positions, fit, bare, observed=last_curve))
    if frontier is not None:
        label = "Loss that each budget buys, its decay planned for it."
        shown["frontier"] = _svg(label, partial(plot_frontier, replace(frontier, notices=()), prob=prob))
    if cost is not None:
        label = "Expected loss by budget on the schedule as planned."
        shown["budget"] = _svg(label, partial(plot_budget, bare, cost, target=target, prob=prob))
    if stopping is not None:
        plot = partial(plot_stopping, replace(stopping, notices=()), prob=prob)
        shown["stopping"] = _svg(
            "Worth of stopping at each step, and the probability that it is best.", plot, heights=(3.0, 1.5)
        )
        plans = partial(plot_what_if, _without_notices(stopping.plans), prob=prob)
        shown["plans"] = _svg("Loss, gain and learning rate under other plans.", plans, heights=(3.0, 2.0, 1.5))
    elif best is not None:
        plot = partial(plot_best_plan, replace(best, notices=()), prob=prob)
        shown["plans"] = _svg("How much higher other plans end, and learning rates.", plot, heights=(3.0, 2.0))
    return Report(tree, shown)


def _forecast_label(tree: Tree) -> str:
    """The picture of the forecast in words, for people who do not see it."""
    last = tree["last"]
    where = f"{last['median']:.3f} at step {show(last[STEP])}, {last['lower']:.3f} to {last['upper']:.3f}"
    return f"Losses measured until step {show(tree['origin'])}, and their forecast: {where}. Below, the learning rate."


def _without_notices(plans: WhatIf) -> WhatIf:
    return replace(plans, forecasts={name: replace(one, notices=()) for name, one in plans.forecasts.items()})


def _known(rows: Sequence[Tree]) -> list[Tree]:
    """Rows of a table without the columns of which nothing is known."""
    kept = [name for name in rows[0] if not all(pd.isna(row[name]) for row in rows)]
    return [{name: row[name] for name in kept} for row in rows]


def _cell(value: object) -> str:
    """A value of a table: a text as it is, a number to four decimals."""
    return value if isinstance(value, str) else show(round(value, 4) if isinstance(value, float) else value)


def _measured(losses: LossTable | None, ahead: Forecast) -> tuple[pd.Series, pd.Series | None]:
    """Of the losses of the run: means after the origin (step), and the last fitted ones by position, if there are any."""
    if losses is None:
        return pd.Series(dtype=float, name="observed", index=pd.Index([], name=STEP, dtype=float)), None
    require_losses(losses)
    of_run = losses.select(run=ahead.run, test_set=ahead.test_set)
    means, curve = of_run.mean_losses().rename("observed"), of_run.curve()
    last = curve.loc[ahead.origin].dropna() if of_run.by_position and ahead.origin in curve.index else None
    return means.loc[means.index > ahead.origin], last


def _svg(label: str, plot: Callable[..., object], *, heights: Sequence[float] = (1.0,)) -> str:
    """A picture as an SVG element whose colours are variables of the page."""
    import matplotlib as mpl

    width, height = _SIZE
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}), StringIO() as file:
        tall = height * (1.0 if len(heights) == 1 else 0.3 * sum(heights))
        figure = figure_of(plot, size=(width, tall), heights=heights)
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
        svg = file.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg)
    svg = re.sub(r' (xmlns(:xlink)?="[^"]*"|(width|height)="[\d.]+pt")', "", svg)
    svg = re.sub("|".join(INKS), lambda found: f"var(--{INKS[found[0]]})", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
