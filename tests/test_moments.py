"""Tests of robofb.moments."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robofb.moments import Moments, RunningNormalizer
from robofb.normalize import Normalizer

NUMBERS = st.floats(-1e3, 1e3, allow_nan=False)


@given(batches=st.lists(st.lists(NUMBERS, min_size=1, max_size=7), min_size=1, max_size=6))
def test_merged_parts_equal_numpy_on_all_rows_at_once(batches: list[list[float]]) -> None:
    moments = Moments(*torch.zeros(3, dtype=torch.float64))
    for batch in batches:
        moments = moments.merged(Moments.of(torch.tensor(batch, dtype=torch.float64)))
    everything = np.concatenate(batches)
    assert moments.num == len(everything)
    assert float(moments.mean) == pytest.approx(everything.mean(), abs=1e-9)
    assert float(moments.std) ** 2 == pytest.approx(everything.var(), rel=1e-9, abs=1e-9)


def test_running_normaliser_by_hand() -> None:
    """Starting with one observation of mean 0 and deviation 1, after 3 and 6: mean 3, variance 19/3."""
    running = RunningNormalizer({"x": (1,)})
    x = torch.tensor([[3.0], [6.0]])
    assert running(x, "x").flatten().tolist() == [3.0, 5.0]  # clamped
    running.watch({"x": x[:1]})
    running.watch({"x": x[1:]})
    assert running(x, "x").flatten().tolist() == [3.0, 5.0]  # not before the commit
    running.commit()
    # squares of deviations: 1 of the start; 0, 3, 6 about 3: 9 + 0 + 9
    expected = [0.0, 3.0 / (19 / 3) ** 0.5]
    assert running(x, "x").flatten().tolist() == pytest.approx(expected)
    running.commit()  # nothing new
    assert running(x, "x").flatten().tolist() == pytest.approx(expected)
    rebuilt = RunningNormalizer({"x": (1,)})
    rebuilt.load_state_dict(running.state_dict())
    assert torch.equal(rebuilt(x, "x"), running(x, "x"))


def test_starts_as_the_normaliser_that_it_is_given() -> None:
    limits = {"min": [0.0, 1.0], "max": [4.0, 1.0], "mean": [2.0, 1.0], "std": [1.0, 0.0]}
    base = Normalizer({"a.b": limits})
    running = RunningNormalizer({"a.b": (2,)})
    running.start_from(base, ["a.b"])
    x = torch.tensor([[1.0, 1.5]])
    assert running(x, "a.b").tolist() == [[-0.5, 0.5]]  # the base maps its constant to 0, whatever it is
    assert base(x, "a.b").tolist() == [[-0.5, 0.0]]
