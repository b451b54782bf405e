"""The benchmark of success in hidden holes against the steps that an episode may take, by hand."""

from __future__ import annotations

from collections.abc import Sequence

import borel_hidden_holes
import pytest

from robofb.charts import Line
from robofb.stats import wilson_interval


def test_trials_of_all_runs_make_one_line_of_each_who_acts(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {(0, 8, 1): 1, (0, 8, 2): 2, (0, 40, 1): 3, (0, 40, 2): 4, (1, 8, 1): 1, (1, 8, 2): 4}
    counts |= {(1, 40, 1): 4, (1, 40, 2): 4}
    rows = [
        {"seed": seed, "steps": steps, "who": "belief", "which": f"episode {number}"}
        | {"successes": count, "episodes": 4}
        for (seed, steps, number), count in counts.items()
    ]
    drawn: list[Line] = []

    def draw(lines: Sequence[Line], x_label: str) -> str:
        drawn.extend(lines)
        return x_label

    monkeypatch.setattr(borel_hidden_holes, "line_chart", draw)
    assert "steps that an episode may take" in borel_hidden_holes.chart(rows)
    first, second = drawn
    assert (first.name, second.name) == ("belief, episode 1", "belief, episode 2")
    assert list(first.x) == list(second.x) == [8, 40]
    assert first.y == [2 / 8, 7 / 8] and second.y == [6 / 8, 1.0]
    assert first.low == [wilson_interval(2, 8)[0], wilson_interval(7, 8)[0]]
    assert second.high == [wilson_interval(6, 8)[1], wilson_interval(8, 8)[1]]
