"""Tests of robofb.rl.advantages."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from robofb.rl.advantages import chunk_advantages, decision_advantages, generalised_advantages

LAM = 0.5


def column(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


@given(
    data=st.data(),
    num_steps=st.integers(1, 8),
    gamma=st.floats(0.1, 1.0),
    episodes=st.integers(0, 2**8 - 1),
)
def test_lambda_one_is_the_discounted_return_and_lambda_zero_the_td_error(
    data: st.DataObject, num_steps: int, gamma: float, episodes: int
) -> None:
    numbers = st.lists(st.floats(-5, 5, width=32), min_size=num_steps, max_size=num_steps)
    reward, value, next_value = (
        torch.tensor(data.draw(numbers), dtype=torch.float64)[:, None] for _ in range(3)
    )
    done = torch.tensor([bool(episodes >> t & 1) for t in range(num_steps)])[:, None]
    following = torch.cat([value[1:], next_value[-1:]])
    next_value = torch.where(done, next_value, following)
    monte_carlo = torch.empty_like(reward)
    running = next_value[-1]
    for t in reversed(range(num_steps)):
        running = reward[t] + gamma * torch.where(done[t], next_value[t], running)
        monte_carlo[t] = running
    one = generalised_advantages(reward, value, next_value, done, gamma, 1.0)
    assert torch.allclose(one + value, monte_carlo)
    zero = generalised_advantages(reward, value, next_value, done, gamma, 0.0)
    assert torch.allclose(zero, reward + gamma * next_value - value)


def test_advantages_by_hand_for_two_envs_in_their_own_time() -> None:
    """Env 1 decides at entries 0 and 2, which times out with value 8; env 0 at 1, 3 and 4 (terminates).

    Env 1: delta_2 = 3 + 0.5 * 8 - 1 = 6, delta_0 = 1 + 0.25 * 1 - 2 = -0.75, A_0 = -0.75 + 0.125 * 6 = 0.
    Env 0: delta_4 = 4 + 0 - 2 = 2, delta_3 = 0 + 0.5 * 2 - 1 = 0, A_3 = 0.5 * 0.5 * 2 = 0.5,
    delta_1 = 1 + 0.5 * 1 - 1 = 0.5, A_1 = 0.5 + 0.5 * 0.5 * 0.5 = 0.625.
    """
    advantage = decision_advantages(
        env=torch.tensor([1, 0, 1, 0, 0]),
        reward=torch.tensor([1.0, 1.0, 3.0, 0.0, 4.0]),
        discount=torch.tensor([0.25, 0.5, 0.5, 0.5, 0.0]),
        value=torch.tensor([2.0, 1.0, 1.0, 1.0, 2.0]),
        next_value=torch.tensor([1.0, 1.0, 8.0, 2.0, 99.0]),
        done=torch.tensor([False, False, True, False, True]),
        lam=LAM,
    )
    assert advantage.tolist() == pytest.approx([0.0, 0.625, 6.0, 0.5, 2.0])


def test_nothing_flows_from_one_episode_into_the_one_before() -> None:
    values = {
        "env": torch.tensor([0, 0]),
        "discount": torch.tensor([0.9, 0.9]),
        "value": torch.zeros(2),
        "next_value": torch.zeros(2),
        "lam": 1.0,
    }
    for done, expected in ((True, 1.0), (False, 1.0 + 0.9 * 5.0)):
        advantage = decision_advantages(
            reward=torch.tensor([1.0, 5.0]), done=torch.tensor([done, False]), **values
        )
        assert advantage[0].item() == pytest.approx(expected)


def test_decisions_that_hold_for_a_chunk_by_hand() -> None:
    """gamma = lambda = 1/2, chunks of 2. Steps 0-1, 2: ended in the middle of its chunk. Steps 3-4: go on."""
    reward, value = column(1.0, 2, 4, 0, 2), column(2.0, 99, 1, 1, 99)
    done, bootstrap = column(0, 0, 1, 0, 0).bool(), column(0.0, 0, 2, 0, 0)
    decides = column(1, 0, 1, 1, 0).bool()
    advantage = chunk_advantages(
        reward, value, bootstrap, torch.tensor([8.0]), done, decides, gamma=0.5, lam=0.5
    )
    # step 3: 0 + 2/2 + 8/4 - 1 = 2;  step 2: 4 + 2/2 - 1 = 4, the end cuts step 3 off
    # step 0: 1 + 2/2 + 1/4 - 2 = 1/4, and 1/4 * 1/2 of step 2's advantage: 3/4
    assert advantage[:, 0].tolist() == [0.75, 0.0, 4.0, 2.0, 0.0]


@given(data=st.data(), gamma=st.floats(0.1, 1.0), lam=st.floats(0.0, 1.0))
def test_deciding_in_every_step_gives_the_generalised_advantages(
    data: st.DataObject, gamma: float, lam: float
) -> None:
    numbers = st.lists(st.floats(-5, 5), min_size=6, max_size=6)
    reward, value, bootstrap = (
        torch.tensor(data.draw(numbers), dtype=torch.float64)[:, None] for _ in range(3)
    )
    done = torch.tensor(data.draw(st.lists(st.booleans(), min_size=6, max_size=6)))[:, None]
    last = torch.ones(1, dtype=torch.float64)
    following = torch.where(done, bootstrap, torch.cat([value[1:], last[None]]))
    always = torch.ones_like(done)
    assert torch.allclose(
        chunk_advantages(reward, value, bootstrap, last, done, always, gamma, lam),
        generalised_advantages(reward, value, following, done, gamma, lam),
    )
