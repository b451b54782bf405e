"""Table and charts of the cells of tgrl.py."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from scipy.stats import t

from robofb.charts import Line, curve_chart, line_chart
from robofb.report import section

Cells = Sequence[Mapping[str, Any]]
SHOWN = ("tgrl", "imitation (DAgger)", "reward alone (SAC)")


def over_seeds(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean of the seeds' success rates and its 95 % interval by Student's t, within [0, 1].

    One seed tells nothing of others: its interval is (0, 1).
    """
    mean, half = fmean(values), half_width(values)
    return mean, max(0.0, mean - half), min(1.0, mean + half)


def half_width(values: Sequence[float]) -> float:
    """Return half of the 95 % interval of the seeds' mean by Student's t; infinite for one seed."""
    if len(values) == 1:
        return math.inf
    return float(t.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5


def table(cells: Cells) -> str:
    """Return a Markdown table: a line for each task and method."""
    lines = [
        "| task | method | seeds, % | mean of seeds, % [95 % interval] | mean over training, % |",
        "|---|---|---|---|---|",
    ]
    for task, method in dict.fromkeys((cell["task"], cell["method"]) for cell in cells):
        own = [cell for cell in cells if (cell["task"], cell["method"]) == (task, method)]
        rates = [cell["successes"] / cell["episodes"] for cell in own]
        mean, low, high = (100 * value for value in over_seeds(rates))
        area = 100 * fmean(fmean(value for _, value in cell["curve"]) for cell in own)
        seeds = " ".join(f"{100 * rate:.1f}" for rate in rates)
        lines.append(f"| {task} | {method} | {seeds} | {mean:.1f} [{low:.1f}, {high:.1f}] | {area:.1f} |")
    return "\n".join(lines)


def charts(cells: Cells) -> str:
    """Return the body of a page: success, coefficient and returns against environment steps, by task."""
    parts = []
    for task in dict.fromkeys(cell["task"] for cell in cells):
        own = [cell for cell in cells if cell["task"] == task]
        methods = [method for method in SHOWN if any(cell["method"] == method for cell in own)]
        lines = [_success(method, [c for c in own if c["method"] == method]) for method in methods]
        if lines:
            note = "mean over seeds, and its 95 % interval by Student's t"
            parts.append(section(f"{task}: success", note, line_chart(lines, "environment steps")))
        balanced = [cell for cell in own if cell["method"] == "tgrl"]
        if balanced:
            parts.append(_balance_section(task, balanced))
    return "".join(parts)


def _success(method: str, cells: Cells) -> Line:
    """Return the mean success of the seeds, with its interval, at each selection."""
    steps = sorted({step for cell in cells for step, _ in cell["curve"]})
    means = [over_seeds([y for cell in cells for x, y in cell["curve"] if x == step]) for step in steps]
    return Line(method, steps, *zip(*means, strict=True))


def _balance_section(task: str, cells: Cells) -> str:
    """Return the coefficient of each seed, and the returns of both policies, against environment steps."""
    coefficients = [_line(f"seed {cell['seed']}", cell["coefficient"]) for cell in cells]
    returns = [
        _line(name, binned([row for cell in cells for row in cell[key]]))
        for name, key in (("student", "return_student"), ("reward alone", "return_reward"))
    ]
    content = curve_chart(coefficients, "environment steps", "coefficient")
    content += curve_chart(returns, "environment steps", "return of the episodes that each policy collected")
    return section(f"{task}: the balance", "coefficient of each seed; returns, mean over seeds", content)


def _line(name: str, rows: Sequence[Sequence[float]]) -> Line:
    return Line(name, [row[0] for row in rows], [row[1] for row in rows])


def binned(rows: Sequence[Sequence[float]], bins: int = 40) -> list[list[float]]:
    """Return rows (step, value) of one curve or several as the means over equal parts of the steps."""
    last = max((step for step, _ in rows), default=1)
    means = []
    for index in range(bins):
        low, high = last * index / bins, last * (index + 1) / bins
        values = [value for step, value in rows if low < step <= high]
        if values:
            means.append([(low + high) / 2, round(fmean(values), 4)])
    return means
