"""Charts as HTML and inline SVG that follow the reader's light or dark theme."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 460, 260  # of a line chart, in SVG units
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 10, 40
COLOURS = 6  # custom properties --c0 to --c5 of report.css


def colour(index: int) -> str:
    """Return the CSS colour of the index-th series."""
    return f"var(--c{index % COLOURS})"


@dataclass(frozen=True)
class Bar:
    """One horizontal bar.

    Attributes:
        name: text before it.
        share: its length in [0, 1].
        value: text behind it.
        colour: index of its colour.
        low, high: ends of its interval in [0, 1], or None.
    """

    name: str
    share: float
    value: str
    colour: int = 1
    low: float | None = None
    high: float | None = None


def bars(rows: Sequence[Bar | str]) -> str:
    """Return horizontal bars below each other; a plain string is a heading between them."""
    parts = ['<div class="bars">']
    for row in rows:
        if isinstance(row, str):
            parts.append(f'<div class="head">{escape(row)}</div>')
            continue
        whisker = ""
        if row.low is not None and row.high is not None:
            span = f"left:{_percent(row.low)};width:{_percent(row.high - row.low)}"
            whisker = f'<div class="whisker" style="{span}"></div>'
        fill = f'<div class="fill" style="width:{_percent(row.share)};background:{colour(row.colour)}"></div>'
        parts.append(
            f'<div class="name">{escape(row.name)}</div><div class="track">{fill}{whisker}</div>'
            f'<div class="value">{escape(row.value)}</div>'
        )
    return "".join([*parts, "</div>"])


def _percent(share: float) -> str:
    return f"{100 * min(1.0, max(0.0, share)):.2f}%"


@dataclass(frozen=True)
class Line:
    """One line of a chart: y against x, with optional interval ends; `line_chart` takes rates in [0, 1].

    Its colour is that of its place among the lines of the chart where `colour` is None.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    colour: int | None = field(default=None, kw_only=True)


def ticks(largest: float, count: int = 5) -> list[float]:
    """Return round numbers from 0 to at most `largest`, about `count` steps apart."""
    if not largest > 0:
        return [0.0]
    raw = largest / count
    base = 10.0 ** math.floor(math.log10(raw))
    step = next(base * factor for factor in (1, 2, 2.5, 5, 10) if base * factor >= raw * 0.999)
    return [index * step for index in range(math.floor(largest / step * 1.0001) + 1)]


def short_number(value: float) -> str:
    """Return a number as on an axis: 0, 40, 250k, 1.5M."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{suffix}"
    return f"{value:g}"


def line_chart(lines: Sequence[Line], x_label: str, reference: tuple[str, float] | None = None) -> str:
    """Return an SVG of success rates against x.

    Args:
        lines: at least one point each.
        x_label: quantity and unit of the x axis.
        reference: name and rate of a dashed horizontal line.
    """
    largest = max((max(line.x) for line in lines), default=0.0) or 1.0

    def at(x: float, y: float) -> tuple[float, float]:
        across = LEFT + x / largest * (WIDTH - LEFT - RIGHT)
        return across, TOP + (1 - y) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="success against {escape(x_label)}">'
    ]
    for rate in (0.0, 0.25, 0.5, 0.75, 1.0):
        left, y = at(0, rate)
        parts.append(f'<line class="grid" x1="{left}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{100 * rate:.0f} %</text>')
    for tick in ticks(largest):
        x, y = at(tick, 0)
        parts.append(f'<text x="{x:.1f}" y="{y + 17:.1f}" text-anchor="middle">{short_number(tick)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{escape(x_label)}</text>')
    if reference is not None:
        left, y = at(0, reference[1])
        parts.append(f'<line class="reference" x1="{left}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
    colours = [colour(n + 1 if line.colour is None else line.colour) for n, line in enumerate(lines)]
    for line, stroke in zip(lines, colours, strict=True):
        parts += _line(line, stroke, [at(x, y) for x, y in zip(line.x, line.y, strict=True)])
        if line.low and line.high:
            upper = [at(x, y) for x, y in zip(line.x, line.high, strict=True)]
            lower = [at(x, y) for x, y in zip(line.x, line.low, strict=True)]
            outline = _points(upper + lower[::-1])
            parts.append(f'<polygon points="{outline}" fill="{stroke}" opacity="0.14"/>')
    names = [(stroke, line.name) for stroke, line in zip(colours, lines, strict=True)]
    names += [(colour(0), reference[0])] if reference else []
    return "".join([*parts, "</svg>", legend(names)])


def _line(line: Line, stroke: str, points: list[tuple[float, float]]) -> list[str]:
    """Return the polyline and, for the reader's pointer, a dot with its numbers at each point."""
    parts = [f'<polyline points="{_points(points)}" fill="none" stroke="{stroke}" stroke-width="2"/>']
    radius = 3 if len(points) <= 40 else 1.5
    for (x, y), at, rate in zip(points, line.x, line.y, strict=True):
        title = f"<title>{100 * rate:.1f} % at {at:,.0f}</title>"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{stroke}">{title}</circle>')
    return parts


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def legend(names: Sequence[tuple[str, str]]) -> str:
    """Return coloured squares with their names."""
    items = [
        f'<span><i class="swatch" style="background:{fill}"></i>{escape(name)}</span>' for fill, name in names
    ]
    return f'<div class="legend">{"".join(items)}</div>'


def curve_chart(
    lines: Sequence[Line], x_label: str, y_label: str, marked: Sequence[tuple[float, float]] = ()
) -> str:
    """Return an SVG of any quantities against x; points that are not finite are left out.

    Args:
        lines: what to draw.
        x_label, y_label: quantity and unit of each axis.
        marked: ranges of x to shade.
    """
    points = [(x, y) for line in lines for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]
    xs, ys = [x for x, _ in points] or [0.0], [y for _, y in points] or [0.0]
    across, up = _Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT), _Axis(min(ys), max(ys), HEIGHT - BOTTOM, TOP)
    label = f"{escape(y_label)} against {escape(x_label)}"
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">']
    for low, high in marked:
        left, right = across.at(low) - 2, across.at(high) + 2
        place = f'x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" height="{HEIGHT - TOP - BOTTOM}"'
        parts.append(f'<rect {place} fill="{colour(2)}" opacity="0.25"/>')
    parts += _grid(across, up, x_label)
    for index, line in enumerate(lines):
        finite = [(x, y) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]
        places = _points([(across.at(x), up.at(y)) for x, y in finite])
        parts.append(
            f'<polyline points="{places}" fill="none" stroke="{colour(index + 1)}" stroke-width="1.5"/>'
        )
    names = [(colour(index + 1), line.name) for index, line in enumerate(lines)]
    return "".join([*parts, "</svg>", legend(names)])


def histogram(values: Sequence[float], x_label: str, bins: int = 24) -> str:
    """Return an SVG that counts values in equal parts of their range."""
    low, high = min(values), max(values)
    width = (high - low) / bins or 1.0
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / width))] += 1
    across, up = (
        _Axis(low, low + bins * width, LEFT, WIDTH - RIGHT),
        _Axis(0, max(counts), HEIGHT - BOTTOM, TOP),
    )
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="count of {escape(x_label)}">']
    parts += _grid(across, up, x_label)
    for index, count in enumerate(counts):
        left, right = across.at(low + index * width), across.at(low + (index + 1) * width)
        title = f"<title>{count} from {low + index * width:.4g} to {low + (index + 1) * width:.4g}</title>"
        place = f'x="{left + 0.5:.1f}" y="{up.at(count):.1f}" width="{right - left - 1:.1f}"'
        height = f'height="{HEIGHT - BOTTOM - up.at(count):.1f}"'
        parts.append(f'<rect {place} {height} fill="{colour(1)}">{title}</rect>')
    return "".join([*parts, "</svg>"])


@dataclass(frozen=True)
class _Axis:
    """Where values from `low` to `high` stand between `start` and `end` in SVG units."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        span = self.high - self.low
        share = (value - self.low) / span if span > 0 else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        steps = ticks(self.high - self.low)
        if len(steps) < 2:
            return [self.low]
        first = math.ceil(self.low / steps[1] - 1e-9)
        last = math.floor(self.high / steps[1] + 1e-9)
        return [index * steps[1] for index in range(first, last + 1)]


def _grid(across: _Axis, up: _Axis, x_label: str) -> list[str]:
    """Return the grid lines and numbers of both axes and the name of x."""
    parts = []
    for tick in up.ticks():
        y = up.at(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:.4g}</text>')
    for tick in across.ticks():
        place = f'x="{across.at(tick):.1f}" y="{HEIGHT - BOTTOM + 17}"'
        parts.append(f'<text {place} text-anchor="middle">{short_number(round(tick, 9))}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{escape(x_label)}</text>')
    return parts
