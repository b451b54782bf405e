"""Curves of one quantity over an episode, with sources, bottlenecks and the present step, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise

import numpy as np

from robofb.charts import ticks
from robofb.store.bottlenecks import BY_PERSON, Bottleneck
from robofb.types import SOURCE_NAMES

WIDTH, HEIGHT = 320, 150  # of the plot in SVG units
LEFT, RIGHT, TOP, BOTTOM, BAND = 42, 8, 6, 30, 8
BINS = 400  # of a long curve across the picture
COLOURS = ("#2563eb", "#dc2626", "#16a34a", "#9333ea", "#ea580c", "#0891b2", "#be185d", "#65a30d", "#6b7280")
SOURCE_COLOURS = ("#16a34a", "#2563eb", "#dc2626", "#ca8a04", "#9ca3af")  # by SOURCE_ flag
PERSON, RULE = "#c026d3", "#f59e0b"


class Timeline:
    """Draw curves once; `svg` adds what changes from step to step.

    Args:
        values: (n, C) of the quantity at steps 0..n-1.
        names: C names of the curves.
        source: (T,) SOURCE_ flags of the actions.
        marks: bottlenecks.
    """

    def __init__(
        self, values: np.ndarray, names: Sequence[str], source: np.ndarray, marks: Sequence[Bottleneck]
    ) -> None:
        self._values, self._names, self._last = values, names, len(source)
        finite = values[np.isfinite(values)]
        self._low, self._high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        if self._high - self._low < 1e-9:
            self._low, self._high = self._low - 0.5, self._high + 0.5
        present = [flag for flag in range(len(SOURCE_NAMES)) if flag in source]
        self._fixed = "".join(
            [*self._axes(), *self._curves(), *self._band(source), *(self._mark(mark) for mark in marks)]
        )
        self._sources = "".join(_swatch(SOURCE_COLOURS[flag], SOURCE_NAMES[flag]) for flag in present)

    def svg(self, step: int) -> str:
        """Return the picture with its legend at a step, as HTML."""
        x = self.x(step)
        now = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM + BAND + 4}" class="now"/>'
        row = self._values[min(step, len(self._values) - 1)]
        legend = "".join(
            _swatch(COLOURS[index % len(COLOURS)], f"{name} {value:.4g}")
            for index, (name, value) in enumerate(zip(self._names, row, strict=True))
        )
        style = (
            "<style>.rfb text{font:10px sans-serif;fill:#6b7280}.rfb .grid{stroke:#d1d5db;stroke-width:.5}"
            ".rfb .now{stroke:#111827;stroke-width:1.5}</style>"
        )
        picture = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="100%">{self._fixed}{now}</svg>'
        rows = f"<div>{legend}</div><div>{self._sources}</div>"
        return f'{style}<div class="rfb" style="font:11px sans-serif;padding:0 8px">{picture}{rows}</div>'

    def x(self, step: float) -> float:
        """Return where a step stands across the picture."""
        return LEFT + step / max(self._last, 1) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Return where a value stands down the picture."""
        share = (value - self._low) / (self._high - self._low)
        return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)

    def _axes(self) -> list[str]:
        parts = []
        for value in (self._low, (self._low + self._high) / 2, self._high):
            y = self.y(value)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{LEFT - 4}" y="{y + 3:.1f}" text-anchor="end">{value:.3g}</text>')
        for tick in ticks(self._last):
            parts.append(
                f'<text x="{self.x(tick):.1f}" y="{HEIGHT - 4}" text-anchor="middle">{tick:g}</text>'
            )
        return parts

    def _curves(self) -> list[str]:
        lines = []
        for column in range(self._values.shape[1]):
            values = self._values[:, column]
            steps = _telling_steps(values)
            points = " ".join(f"{self.x(step):.1f},{self.y(values[step]):.1f}" for step in steps)
            stroke = COLOURS[column % len(COLOURS)]
            lines.append(f'<polyline points="{points}" fill="none" stroke="{stroke}" stroke-width="1.3"/>')
        return lines

    def _band(self, source: np.ndarray) -> list[str]:
        """Return one box for each run of actions from the same source."""
        edges = [0, *(np.flatnonzero(np.diff(source)) + 1).tolist(), len(source)]
        y, boxes = HEIGHT - BOTTOM + 4, []
        for start, stop in pairwise(edges):
            name, colour = SOURCE_NAMES[source[start]], SOURCE_COLOURS[source[start]]
            place = f'x="{self.x(start):.1f}" width="{self.x(stop) - self.x(start):.1f}" y="{y}"'
            boxes.append(f'<rect {place} height="{BAND}" fill="{colour}"><title>{name}</title></rect>')
        return boxes

    def _mark(self, mark: Bottleneck) -> str:
        x, stroke = self.x(mark.step), PERSON if mark.by == BY_PERSON else RULE
        return (
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="{stroke}" '
            f'stroke-width="2" stroke-dasharray="4 2"><title>{mark.step} {escape(mark.why)}</title></line>'
        )


def _telling_steps(values: np.ndarray) -> np.ndarray:
    """Return the steps of the finite values, or of the least and largest in each of BINS spans of them."""
    steps = np.flatnonzero(np.isfinite(values))
    if len(steps) <= 2 * BINS:
        return steps
    spans = np.array_split(steps, BINS)
    ends = [(span[np.argmin(values[span])], span[np.argmax(values[span])]) for span in spans]
    return np.unique(ends)


def _swatch(colour: str, name: str) -> str:
    return (
        f'<span style="white-space:nowrap;margin-right:8px"><span style="display:inline-block;width:9px;'
        f'height:9px;background:{colour}"></span> {escape(name)}</span>'
    )
