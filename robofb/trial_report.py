"""The report of trials: returns by episode beside others', a film, and which tasks are held likely."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from robofb.charts import Line, curve_chart
from robofb.evaluate_trials import TrialEvaluation
from robofb.files import write_atomically
from robofb.provenance import describe, origin
from robofb.report import exactly, film_element, html_page, html_table, page_head, section
from robofb.run import Run


@dataclass(frozen=True)
class TrialFilm:
    """A film and a picture of some trials, or why there is none.

    Attributes:
        film: mp4.
        picture: png.
        missing: reason.
    """

    film: Path | None = None
    picture: Path | None = None
    missing: str = ""


def cells(results: Mapping[str, TrialEvaluation]) -> list[tuple[str, ...]]:
    """Return a table of texts: a head, then returns by episode with standard errors, a row for each agent."""
    first = next(iter(results.values()))
    trials, episodes = first.returns.shape
    heads = (f"episode {number + 1}" for number in range(episodes))
    rows: list[tuple[str, ...]] = [(f"return in {trials} trials", *heads, "together")]
    for name, each in results.items():
        facts = each.to_dict()
        pairs = [*zip(facts["returns"], facts["standard_errors"], strict=True)]
        pairs.append((facts["total"], facts["total_standard_error"]))
        rows.append((name, *(f"{mean:.2f} +- {error:.2f}" for mean, error in pairs)))
    return rows


def write_trial_report(
    path: Path, run: Run, results: Mapping[str, TrialEvaluation], shown: TrialFilm | None, tasks: str
) -> Path:
    """Write the report of a run's trials as one HTML file and return its path.

    Args:
        path: of the file.
        run: whose trials they are.
        results: by who acted.
        shown: films of some of them.
        tasks: that they were in, such as "held-out tasks".

    Raises:
        UserError: it cannot be written; an older one is intact then.
    """
    first = next(iter(results.values()))
    episodes = list(range(1, first.returns.shape[1] + 1))
    lines = [Line(name, episodes, each.returns.mean(0).tolist()) for name, each in results.items()]
    note = f"Mean over trials and its standard error, in {tasks}; beliefs are kept between episodes."
    title = f"Exploration of {first.task}"
    body = [
        page_head(title, "", {"run": str(run.path), "seed": str(first.seed)}),
        section("Return by episode", note, html_table(cells(results))),
        section("", "", curve_chart(lines, "episode", "return")),
        _film(shown),
        exactly(
            {run.kind: (run.path / "config.yaml").read_text()},
            origin(describe(), "evaluation") | origin(run.meta, "training"),
        ),
    ]
    write_atomically(path, html_page(title, "".join(body)))
    return path


def _film(shown: TrialFilm | None) -> str:
    if shown is None:
        return ""
    if shown.film is None or shown.picture is None:
        return section("Trials", f"No film: {shown.missing}", "")
    data = base64.b64encode(shown.picture.read_bytes()).decode()
    note = "Worlds above; below, tasks of the logs by their parameters, likely ones dark. Red: true."
    rows = "Beliefs of the same trials, one below the other: at first, then after each episode."
    return section("Trials", note, film_element(shown.film)) + section(
        "Beliefs", rows, f'<img style="max-width:100%" alt="{rows}" src="data:image/png;base64,{data}">'
    )
