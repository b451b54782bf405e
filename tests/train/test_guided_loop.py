"""What the balance is told between collecting and learning."""

from __future__ import annotations

import pytest
import torch

from robofb.train.guided_loop import ReturnsByPolicy


def test_the_gap_of_returns_waits_for_both_policies_and_follows_their_means() -> None:
    returns = ReturnsByPolicy(2, share=0.5)
    returns.add(
        torch.tensor([[0.0, 10.0], [2.0, 99.0]])
    )  # 2 is the teacher, whose episodes tell nothing here
    assert returns.gap is None
    returns.add(torch.tensor([[1.0, 4.0]]))
    assert returns.gap == 6.0
    returns.add(torch.tensor([[0.0, 20.0], [0.0, 0.0]]))  # 10 -> 15 -> 7.5
    assert returns.gap == pytest.approx(3.5)


def test_one_policy_alone_has_no_gap() -> None:
    returns = ReturnsByPolicy(1)
    returns.add(torch.tensor([[0.0, 10.0]]))
    assert returns.gap is None
