"""Table and charts of the cells of tgrl.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cells import percent, pooled

from robofb.charts import Line, curve_chart, line_chart
from robofb.report import section
from robofb.stats import SuccessRate

Cells = Sequence[Mapping[str, Any]]
SHOWN = ("tgrl", "imitation (DAgger)", "reward alone (SAC)")


def table(cells: Cells) -> str:
    """Return a Markdown table: a line for each task and method."""
    lines = ["| task | method | seeds, % | all, % [95 % interval] |", "|---|---|---|---|"]
    for (task, method), rate in pooled(cells, ("task", "method")).items():
        own = [cell for cell in cells if (cell["task"], cell["method"]) == (task, method)]
        seeds = " ".join(f"{100 * cell['successes'] / cell['episodes']:.1f}" for cell in own)
        lines.append(f"| {task} | {method} | {seeds} | {percent(rate)} |")
    return "\n".join(lines)


def charts(cells: Cells) -> str:
    """Return the body of a page: success, coefficient and returns against environment steps, by task."""
    parts = []
    for task in dict.fromkeys(cell["task"] for cell in cells):
        own = [cell for cell in cells if cell["task"] == task]
        methods = [method for method in SHOWN if any(cell["method"] == method for cell in own)]
        lines = [_success(method, [c for c in own if c["method"] == method]) for method in methods]
        if lines:
            note = "all seeds' selection episodes together, with their Wilson 95 % interval"
            parts.append(section(f"{task}: success", note, line_chart(lines, "environment steps")))
        balanced = [cell for cell in own if cell["method"] == "tgrl"]
        if balanced:
            parts.append(_balance_section(task, balanced))
    return "".join(parts)


def _success(method: str, cells: Cells) -> Line:
    """Return the success of all seeds together; those of one step count as many episodes as were selected."""
    steps = sorted({step for cell in cells for step, _ in cell["curve"]})
    rates = []
    for step in steps:
        values = [value for cell in cells for at, value in cell["curve"] if at == step]
        episodes = 128 * len(values)  # select_episodes
        rates.append(SuccessRate(round(128 * sum(values)), episodes))
    return Line(method, steps, [r.rate for r in rates], [r.low for r in rates], [r.high for r in rates])


def _balance_section(task: str, cells: Cells) -> str:
    """Return the coefficient of each seed, and the returns of both policies, against environment steps."""
    coefficients = [_line(f"seed {cell['seed']}", cell["coefficient"]) for cell in cells]
    returns = [
        _line(name, _mean([cell[key] for cell in cells]))
        for name, key in (("student", "return_student"), ("reward alone", "return_reward"))
    ]
    content = curve_chart(coefficients, "environment steps", "coefficient")
    content += curve_chart(returns, "environment steps", "return of the episodes that each policy collected")
    return section(f"{task}: the balance", "coefficient of each seed; returns, mean over seeds", content)


def _line(name: str, rows: Sequence[Sequence[float]]) -> Line:
    return Line(name, [row[0] for row in rows], [row[1] for row in rows])


def _mean(curves: Sequence[Sequence[Sequence[float]]], bins: int = 40) -> list[list[float]]:
    """Return the mean of curves with points at different steps, in bins."""
    rows = [row for curve in curves for row in curve]
    last = max((step for step, _ in rows), default=1)
    mean = []
    for index in range(bins):
        low, high = last * index / bins, last * (index + 1) / bins
        values = [value for step, value in rows if low < step <= high]
        if values:
            mean.append([(low + high) / 2, sum(values) / len(values)])
    return mean
