"""Tests of robofb.rl.rollout_buffer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from robofb.rl.rollout_buffer import Minibatch, RolloutBuffer


def column(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


def fill(buffer: RolloutBuffer, reward: Tensor, value: Tensor, done: Tensor, bootstrap: Tensor) -> None:
    """Put given numbers (T, B) into a buffer whose observations number the samples."""
    numbers = torch.arange(float(reward.numel())).reshape(reward.shape)
    for t in range(len(reward)):
        x = numbers[t][:, None]
        buffer.add_decision(x, x, x, x, numbers[t], value[t])
        buffer.add_outcome(reward[t], done[t], bootstrap[t])


def test_hand_worked_rollout_with_a_time_out_and_a_termination() -> None:
    """gamma = lambda = 1/2. Steps 0-1: timed out, final value 4. Steps 2-3: terminated. Step 4: goes on."""
    buffer = RolloutBuffer(5, 1, 1, 1, 1)
    fill(
        buffer,
        reward=column(1, 0, 0, 2, 1),
        value=column(2, 1, 3, 1, 2),
        done=column(0, 1, 0, 1, 0).bool(),
        bootstrap=column(0, 4, 0, 0, 0),
    )
    buffer.compute_returns(torch.tensor([6.0]), gamma=0.5, lam=0.5)
    # delta: 1 + 1/2 - 2 = -1/2;  0 + 4/2 - 1 = 1;  0 + 1/2 - 3 = -5/2;  2 + 0 - 1 = 1;  1 + 6/2 - 2 = 2
    # A4 = 2; A3 = 1 (ends); A2 = -5/2 + 1/4 = -9/4; A1 = 1 (ends); A0 = -1/2 + 1/4 = -1/4
    assert buffer.advantage[:, 0].tolist() == [-0.25, 1.0, -2.25, 1.0, 2.0]
    assert buffer.returns[:, 0].tolist() == [1.75, 2.0, 0.75, 2.0, 4.0]


@pytest.mark.parametrize("size", [None, 4, 5, 100])
def test_minibatches_hold_every_sample_once_with_its_own_columns(size: int | None) -> None:
    buffer = RolloutBuffer(4, 3, 1, 1, 1)
    value = torch.arange(12.0).reshape(4, 3) * 10
    fill(buffer, torch.ones(4, 3), value, torch.zeros(4, 3, dtype=torch.bool), torch.zeros(4, 3))
    buffer.compute_returns(torch.zeros(3), 0.9, 0.9)
    batches = list(buffer.minibatches(size, torch.Generator().manual_seed(0)))
    assert [len(batch.value) for batch in batches] == {None: [12], 4: [4] * 3, 5: [4] * 3, 100: [12]}[size]
    assert all(batch.share == 1.0 for batch in batches)
    joined = Minibatch(*(torch.cat(columns) for columns in zip(*(b[:-1] for b in batches), strict=True)))
    assert sorted(joined.log_prob.tolist()) == list(range(12))
    assert torch.equal(joined.value, 10 * joined.log_prob)
    assert torch.equal(joined.actor_obs[:, 0], joined.log_prob)
    assert torch.equal(joined.returns, buffer.returns.flatten()[joined.log_prob.long()])


def test_the_same_generator_state_gives_the_same_order_and_the_next_another() -> None:
    buffer = RolloutBuffer(8, 4, 1, 1, 1)
    zeros = torch.zeros(8, 4)
    fill(buffer, zeros, zeros, zeros.bool(), zeros)

    def order(generator: torch.Generator) -> list[float]:
        return [x for batch in buffer.minibatches(8, generator) for x in batch.log_prob.tolist()]

    generator = torch.Generator().manual_seed(3)
    first = order(generator)
    assert order(torch.Generator().manual_seed(3)) == first
    assert order(generator) != first


def test_refuses_an_incomplete_rollout() -> None:
    with pytest.raises(RuntimeError, match="0 of 4"):
        RolloutBuffer(4, 3, 1, 1, 1).compute_returns(torch.zeros(3), 0.9, 0.9)


def test_only_decisions_are_learnt_from() -> None:
    buffer = RolloutBuffer(4, 2, 1, 1, 1)
    decides = torch.tensor([[1, 1], [0, 0], [0, 1], [1, 0]]).bool()
    for t in range(4):
        x = torch.tensor([[2.0 * t], [2.0 * t + 1]])
        buffer.add_decision(x, x, x, x, x[:, 0], x[:, 0], decides[t])
        buffer.add_outcome(torch.ones(2), torch.zeros(2, dtype=torch.bool), torch.zeros(2))
    buffer.compute_returns(torch.zeros(2), 1.0, 1.0)
    rows = buffer.decisions()
    assert rows.log_prob.tolist() == [0.0, 1.0, 5.0, 6.0]
    assert rows.returns.tolist() == [4.0, 4.0, 2.0, 1.0]  # rewards to come, whoever decides
    parts = list(buffer.minibatches(3, torch.Generator().manual_seed(0)))
    assert [len(part.value) for part in parts] == [2, 2]
    assert sorted(x for part in parts for x in part.log_prob.tolist()) == [0.0, 1.0, 5.0, 6.0]
