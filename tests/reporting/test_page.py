"""The report: what the page says is what the JSON says, it opens anywhere, and it is looked at in a browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
from bayes_tsl._common.digits import decimals
from bayes_tsl._common.validation import percent, show
from bayes_tsl.cli.main import main
from bayes_tsl.inference.posterior import example_fit
from bayes_tsl.reporting.record import coverage_text
from tests.conftest import refusal

COST = bt.Cost(per_hour=20.0, seconds_per_step=3.0, tokens_per_step=1e5)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
LOOK = """
<script>
function look(width, scheme) {
  return new Promise(done => {
    const frame = document.createElement("iframe");
    frame.style = `width: ${width}px; height: 900px; border: 0; color-scheme: ${scheme}`;
    frame.onload = () => {
      const page = frame.contentDocument, style = page.defaultView.getComputedStyle(page.body);
      const pictures = [...page.querySelectorAll("svg")].map(svg => svg.getBoundingClientRect().width);
      const label = page.defaultView.getComputedStyle(page.querySelector("svg text")).fill;
      done({width, scheme, full: page.documentElement.scrollWidth, pictures, paper: style.backgroundColor, label,
            fetched: page.defaultView.performance.getEntriesByType("resource").length, text: page.body.innerText});
    };
    frame.srcdoc = page;
    document.body.append(frame);
  });
}
(async () => {
  const seen = [];
  for (const [width, scheme] of [[360, "light"], [360, "dark"], [1200, "light"]]) seen.push(await look(width, scheme));
  document.body.replaceChildren(Object.assign(document.createElement("pre"), {id: "seen", textContent: JSON.stringify(seen)}));
})();
</script>
"""


@pytest.fixture(scope="module")
def made(fit: bt.Fit, ahead: bt.Forecast, simulation: bt.Simulation) -> bt.Report:
    stopping = bt.stop_or_continue(fit, COST, value=300.0, steps=[5000, 6000, 8000])
    moved = pd.DataFrame(
        {"shift": [0.001], "share": [0.05], "prior_decides": [False], "pareto_k": [0.2], "trusted": [True]},
        pd.Index([8000.0], name="step"),
    )
    frontier = bt.budget_frontier(fit, COST, ends=[6000, 8000], target=3.4)
    choices = {"stopping": stopping, "frontier": frontier, "title": "A model", "comment": "For Thursday."}
    return bt.report(fit, ahead, losses=simulation.losses, target=3.4, cost=COST, moved=moved, **choices)


def words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_page_and_json_say_the_same(made: bt.Report) -> None:
    told, page = json.loads(made.json), words(made.html)
    sentences = [*told["what_to_do"], *told["answers"], *told["trust"].values(), *told["notices"], told["stopping"]["sentence"]]
    assert len(sentences) >= 9
    assert all(" ".join(sentence.split()) in page for sentence in sentences)
    for row in (*told["forecast"], *told["budget"]["curve"], *told["stopping"]["steps"]):
        assert all(show(round(value, 4)) in page for value in row.values() if isinstance(value, float))
    assert set(told["trust"]) == {"convergence", "extent", "calibration", "priors"}
    assert set(told["coefficients"]) == {"gap", "rate", "floor"}
    assert set(made.pictures) == {"forecast", "coefficients", "positions", "frontier", "budget", "stopping", "plans"}


def test_the_decision_comes_first_and_trust_last(made: bt.Report) -> None:
    page = words(made.html.partition("<body>")[2])
    order = ["A model", "For Thursday.", *made.contents["what_to_do"], "What to expect", "Other plans", "What it costs"]
    places = [page.index(part) for part in (*order, "Stop or go on", "How far to trust it", "For researchers")]
    assert places == sorted(places)
    levels = [int(level) for level in re.findall(r"<h([1-6])", made.html)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), "a screen reader would miss a level"
    assert all(re.search(r'<svg role="img" aria-label="[^"]{20,}"', one) for one in made.pictures.values())


def test_one_plan_answers_the_target_and_the_budget(made: bt.Report, fit: bt.Fit) -> None:
    stopping = bt.stop_or_continue(fit, COST, value=300.0, steps=[5000, 6000, 8000])
    act, *_, assumed = made.contents["what_to_do"]
    assert act.lower().startswith(stopping.act)
    assert "nat" in assumed
    losses = stopping.losses.sel(step=stopping.recommended)
    chance = percent(float((losses < 3.4).mean()))
    said = next(one for one in made.contents["what_to_do"] if "target 3.4" in one)
    assert said.startswith(f"On this plan it ends below the target 3.4 with a probability of {chance}")


def test_the_best_plan_is_what_to_do_where_nobody_asked_when_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = example_fit()
    assert bt.report(fit, bt.forecast(fit, steps=[2500])).contents["what_to_do"] == [
        "Do not act on this report: the sampler's chains do not agree."
    ]
    monkeypatch.setattr(bt.Fit, "converged", True)
    best = bt.best_plan(fit, end=2500)
    told = bt.report(fit, bt.forecast(fit, steps=[2000, 2500]), best=best, target=3.5).contents
    assert told["what_to_do"][0] == f"{best.reason.partition('. Of ')[0]}."
    gain = best.against().loc["as planned"]
    assert f"{gain['gain']:.3f} nats below the schedule as planned" in told["what_to_do"][1]
    assert {row["plan"] for row in told["plans"]} == {*best.standard, best.name}
    alone = bt.report(fit, bt.forecast(fit, steps=[2000, 2500])).contents
    assert alone["what_to_do"][0] == "Keep the schedule as planned: no other plan was compared."
    assert alone["plans"] == []


def test_the_record_is_of_runs_like_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = example_fit()
    unlike = coverage_text(fit, horizon=2500.0, law="general")
    assert unlike.startswith(
        "No runs like this one have been measured: its length in steps is 2500, measured were 6800 to 7.194e+04. For comparison"
    )
    monkeypatch.setattr(bt.Fit, "schedule", bt.schedules.cosine(peak=2e-3, warmup=100, total=9000))
    like = coverage_text(fit, horizon=9000.0, law="general")
    assert like.startswith("Runs like this one: on 13 held-out public runs (25M to 360M parameters")
    assert coverage_text(fit, horizon=2500.0, law="paper") == (
        "The coverage of intervals of the law 'paper' has not been measured on public runs."
    )


def test_a_title_is_a_text(mean_fit: bt.Fit) -> None:
    with refusal("title must be a text; got 3. Leave it out if there is none."):
        bt.report(mean_fit, bt.forecast(mean_fit, steps=[8000]), title=3)  # type: ignore[arg-type]


def test_numbers_are_those_of_the_forecast(made: bt.Report, ahead: bt.Forecast, simulation: bt.Simulation) -> None:
    told, table = made.contents, replace(ahead, positions=None).to_frame()  # of mean losses
    np.testing.assert_allclose([row["mean"] for row in told["forecast"]], table["mean"])
    later = simulation.losses.mean_losses().loc[ahead.steps]
    np.testing.assert_allclose([row["observed"] for row in told["forecast"]], later)
    inside = np.sum((later >= table["lower"].to_numpy()) & (later <= table["upper"].to_numpy()))
    assert f"{inside} of {len(later)} losses measured since" in told["answers"][1]
    assert told["extent"]["horizon_over_seen"] == pytest.approx(4000 / 3600)
    assert told["target"]["loss"] == 3.4
    assert told["answers"][2].startswith("Target 3.4: ")
    end = table.iloc[-1]
    digits = decimals(end["lower"], end["upper"])
    median, lower, upper = (f"{end[name]:.{digits}f}" for name in ("median", "lower", "upper"))
    assert told["answers"][0] == (
        f"The test loss at step 8000: median {median} nats per token, 90% interval {lower} to {upper}."
    )
    assert f'<p class="where">{median}\n' in made.html


def test_a_report_states_its_answer_and_shows_its_page_in_a_notebook(made: bt.Report) -> None:
    lines = repr(made).splitlines()
    assert lines[0] == f"Report: {made.contents['run']} on {made.contents['test_set']}"
    assert lines[1] == f"  answer    {made.contents['answers'][0]}"
    assert "<" not in repr(made)
    frame = made._repr_html_()
    assert frame.startswith("<iframe srcdoc=")
    assert html.unescape(frame).count(made.html) == 1


def test_the_page_needs_nothing_but_itself(made: bt.Report) -> None:
    assert not re.search(r"https?:|<script|<link|\ssrc=|@import|url\((?!#)", made.html)
    ids = re.findall(r'\sid="([^"]+)"', made.html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', made.html)) <= {(one, "") for one in ids} | {
        ("", one) for one in ids
    }
    assert not re.search(r"#[0-9a-f]{6}", "".join(made.pictures.values()))


def test_names_cannot_break_the_page(mean_fit: bt.Fit) -> None:
    data = mean_fit.data.copy()
    data.attrs |= {"run": "<img src=x onerror=alert(1)>", "test_set": "a & b"}
    page = bt.report(bt.Fit(data), bt.forecast(bt.Fit(data), steps=[8000])).html
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt; on a &amp; b" in page


def test_a_forecast_of_another_run_is_refused(fit: bt.Fit, ahead: bt.Forecast) -> None:
    with pytest.raises(
        bt.DataError, match=r"^ahead must be of run 'run' on 'test'; got 'other', 'test'\. Make it with forecast"
    ):
        bt.report(fit, replace(ahead, run="other"))


def test_chains_that_disagree_are_said_first(fit: bt.Fit, ahead: bt.Forecast) -> None:
    data = fit.data.copy(deep=True)
    data["posterior"]["floor_level"][0] += 1.0
    made = bt.report(bt.Fit(data), replace(ahead, converged=False))
    page = words(made.html)
    assert page.index("NOT CONVERGED") < page.index("What to expect")
    assert "do not act on this report" in made.contents["trust"]["convergence"]
    assert "'floor_level'" in made.contents["trust"]["convergence"]
    assert "NOT CONVERGED" in made.pictures["forecast"]


def test_a_report_of_mean_losses_alone(mean_fit: bt.Fit) -> None:
    made = bt.report(mean_fit, bt.forecast(mean_fit, steps=[8000]))
    assert set(made.pictures) == {"forecast", "coefficients"}
    assert "their mean losses alone" in made.contents["trust"]["extent"]
    assert made.contents["budget"] is None
    assert "Only mean losses were given" in made.html


def test_files_are_written_whole_or_not_at_all(made: bt.Report, tmp_path: Path) -> None:
    made.save(tmp_path / "run.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.html", "run.json"]
    assert json.loads((tmp_path / "run.json").read_text())["run"] == made.contents["run"]
    with pytest.raises(bt.DataError, match=r"path must end in \.html; got 'run\.txt'"):
        made.save(tmp_path / "run.txt")
    with pytest.raises(bt.DataError, match="folder must exist"):
        made.save(tmp_path / "none" / "run.html")
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_shows_it_on_a_telephone_in_light_and_dark(made: bt.Report, tmp_path: Path) -> None:
    text = json.dumps(made.html).replace("</", "<\\/")
    (tmp_path / "look.html").write_text(f"<!doctype html><body><script>const page = {text};</script>{LOOK}", encoding="utf-8")
    quiet = [
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
    ]
    command = [str(CHROMIUM), "--headless", "--no-sandbox", *quiet, f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--virtual-time-budget=20000", "--dump-dom", (tmp_path / "look.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    seen = json.loads(html.unescape(re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)[1]))
    assert [look["width"] for look in seen] == [360, 360, 1200]
    for look in seen:
        assert look["full"] <= look["width"], "the page scrolls sideways"
        assert len(look["pictures"]) == len(made.pictures)
        assert all(300 < width <= look["width"] for width in look["pictures"])
        assert look["fetched"] == 0
        assert made.contents["answers"][0] in look["text"]
    light, dark = ([int(part) for part in re.findall(r"\d+", look["paper"])[:3]] for look in seen[:2])
    assert min(light) > 230
    assert max(dark) < 60
    assert seen[0]["label"] != seen[1]["label"]


@pytest.mark.slow
def test_a_report_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = np.arange(400, 4001, 300)
    pd.DataFrame({"step": steps, "loss": 3.0 + 3.0 * (steps / 400.0) ** -0.5}).to_csv(tmp_path / "losses.csv", index=False)
    plan = "cosine:peak=2e-3,warmup=150,total=8000,final=2e-4"
    asked = ["--schedule", plan, "--until", "3100", "--to", "8000", "--target", "3.7", "--deadline", "10"]
    costs = ["--per-hour", "20", "--seconds-per-step", "3", "--value", "100", "--out", str(tmp_path / "deep" / "run.html")]
    with pytest.raises(SystemExit) as stopped:
        main(["report", str(tmp_path / "losses.csv"), *asked, *costs])
    assert stopped.value.code in (0, 3)
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["run.html", "run.json"]
    told, shown = json.loads((tmp_path / "deep" / "run.json").read_text()), capsys.readouterr().out.splitlines()
    first = [*told["what_to_do"], *told["answers"]]
    assert shown[: len(first)] == first
    assert told["against_observed"]["steps"] == 3
    assert told["stopping"]["steps"][-1]["step"] == 8000
    assert shown[-1].startswith("wrote ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "run.txt"], "--out must end in .html; got 'run.txt'. Its JSON is written beside it."),
        (["--out", "run.html", "--value", "3"], "--value must come with a cost; got 3. Give e.g. --per-step 0.01."),
        (["--out", "run.html", "--per-step", "0"], "per_step must be a number above 0; got 0."),
        (["--out", "run.html", "--deadline", "3"], "cost must have exactly one price of "),
        (["--out", "run.html", "--per-hour", "3"], "seconds_per_step must be given with per_hour; got None."),
        (["--out", "run.html", "--prob", "90"], "--prob must lie between 0 and 1; got 90. 0.9 is a 90 % interval."),
    ],
)
def test_what_cannot_be_reported(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"step": [100, 200, 300], "loss": [5.0, 4.5, 4.2]}).to_csv("losses.csv", index=False)
    with pytest.raises(SystemExit) as stopped:
        main(["report", "losses.csv", "--to", "900", *options])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")
    assert [path.name for path in tmp_path.iterdir()] == ["losses.csv"]
