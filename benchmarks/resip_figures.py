"""Table and charts of the cells of resip.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cells import percent, pooled

from robofb.charts import Bar, Line, bars, line_chart
from robofb.report import section
from robofb.stats import SuccessRate

Cells = Sequence[Mapping[str, Any]]
GROUP = ("task", "randomness", "demos")


def table(cells: Cells, titles: Mapping[str, str]) -> str:
    """Return a Markdown table: a line for each task, randomness, number of demonstrations and method."""
    lines = [
        "| task | randomness | demonstrations | method | seeds, % | all, % [95 % interval] | pushed, % |",
        "|---|---|---|---|---|---|---|",
    ]
    keys = (*GROUP, "method")
    pushed = _pushed(cells, keys)
    for key, rate in pooled(cells, keys).items():
        own = [cell for cell in cells if tuple(cell[name] for name in keys) == key]
        seeds = " ".join(f"{100 * cell['successes'] / cell['episodes']:.1f}" for cell in own)
        words = [*map(str, key[:3]), titles[key[3]], seeds, percent(rate)]
        lines.append(f"| {' | '.join([*words, percent(pushed[key]) if key in pushed else ''])} |")
    return "\n".join(lines)


def levels_table(cells: Cells, titles: Mapping[str, str], wanted: Sequence[float]) -> str:
    """Return a Markdown table of what reaching each level took: thousand env steps, minutes of wall time.

    Each figure is the mean over the seeds whose selection reached the level, how many they are behind it
    where others did not. Methods that learn from reward alone have a line; "" where there is none.
    """
    keys = (*GROUP, "method")
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for cell in cells:
        if cell["env_steps"]:
            groups.setdefault(tuple(cell[name] for name in keys), []).append(cell["levels"])
    if not groups:
        return ""
    heads = ["task", "randomness", "demonstrations", "method", *(f"{100 * level:g} %" for level in wanted)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for key, seeds in groups.items():
        words = [*map(str, key[:3]), titles[key[3]], *(_reached(seeds, f"{level:g}") for level in wanted)]
        lines.append(f"| {' | '.join(words)} |")
    return "\n".join(lines)


def _reached(seeds: Sequence[Mapping[str, Any]], level: str) -> str:
    """Return what a level took, such as "512k, 7 min (2 of 3)"; "-" where no seed reached it."""
    reached = [levels[level] for levels in seeds if level in levels]
    if not reached:
        return "-"
    steps, minutes = (sum(one[name] for one in reached) / len(reached) for name in ("env_steps", "minutes"))
    share = "" if len(reached) == len(seeds) else f" ({len(reached)} of {len(seeds)})"
    return f"{steps / 1000:.0f}k, {minutes:.0f} min{share}"


def charts(cells: Cells, titles: Mapping[str, str], demos: int) -> str:
    """Return the body of a page: methods, the same under pushes, and success against demonstrations.

    Args:
        cells: of resip.py.
        titles: of the methods, in the order of their colours.
        demos: the number of demonstrations that methods are compared with.
    """
    compared = [cell for cell in cells if cell["demos"] == demos]
    return "".join(
        [
            section(f"Success by method, {demos} demonstrations", "", _method_bars(compared, titles)),
            _pushed_section(compared, titles),
            _scaling_sections(cells, titles),
        ]
    )


def _method_bars(cells: Cells, titles: Mapping[str, str]) -> str:
    """Return one bar a method; its whisker is the Wilson interval of all seeds together."""
    rows: list[Bar | str] = []
    for (task, randomness, method), rate in pooled(cells, ("task", "randomness", "method")).items():
        heading = f"{task}, {randomness}"
        if heading not in rows:
            rows.append(heading)
        rows.append(_bar(titles[method], rate, list(titles).index(method)))
    return bars(rows)


def _pushed_section(cells: Cells, titles: Mapping[str, str]) -> str:
    """Return two bars a method, without and with pushes, of the cells judged under both; "" for none."""
    cells = [cell for cell in cells if "pushed" in cell]
    keys = ("task", "randomness", "method")
    pushed = _pushed(cells, keys)
    rows: list[Bar | str] = []
    for key, rate in pooled(cells, keys).items():
        if (heading := f"{key[0]}, {key[1]}") not in rows:
            rows.append(heading)
        colour = list(titles).index(key[2])
        rows += [_bar(titles[key[2]], rate, colour), _bar("the same, pushed", pushed[key], colour)]
    note = "each part is pushed with a chance of 1 % at each step; of the seeds that were judged so"
    return section("Under perturbation", note, bars(rows)) if rows else ""


def _scaling_sections(cells: Cells, titles: Mapping[str, str]) -> str:
    """Return a chart for each task and randomness of the methods with several numbers of demonstrations."""
    rates = pooled(cells, ("task", "randomness", "method", "demos"))
    parts = []
    for task, randomness in dict.fromkeys(key[:2] for key in rates):
        own = {key[2:]: rate for key, rate in rates.items() if key[:2] == (task, randomness)}
        lines = [
            _line(
                titles[method],
                {demos: rate for (name, demos), rate in own.items() if name == method},
                list(titles).index(method),
            )
            for method in dict.fromkeys(method for method, _ in own)
        ]
        lines = [line for line in lines if len(line.x) > 1]
        if lines:
            title = f"Success against demonstrations: {task}, {randomness}"
            parts.append(section(title, "", line_chart(lines, "demonstrations")))
    return "".join(parts)


def _line(name: str, rates: Mapping[int, SuccessRate], colour: int) -> Line:
    ordered = [rates[demos] for demos in sorted(rates)]
    return Line(
        name,
        sorted(rates),
        [rate.rate for rate in ordered],
        [rate.low for rate in ordered],
        [rate.high for rate in ordered],
        colour=colour,
    )


def _bar(name: str, rate: SuccessRate, colour: int) -> Bar:
    return Bar(name, rate.rate, str(rate), colour, rate.low, rate.high)


def _pushed(cells: Cells, keys: Sequence[str]) -> dict[tuple[Any, ...], SuccessRate]:
    """Return the success under pushes of the cells that agree in `keys`."""
    return pooled([{**cell, **cell["pushed"]} for cell in cells if "pushed" in cell], keys)
