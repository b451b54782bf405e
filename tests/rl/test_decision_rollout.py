"""Tests of robofb.rl.decision_rollout."""

import pytest
import torch

from robofb.rl.decision_rollout import decision_advantages, make_rollout

LAM = 0.5


def test_advantages_by_hand_for_two_envs_in_their_own_time():
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


def test_nothing_flows_from_one_episode_into_the_one_before():
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


def test_a_rollout_of_ragged_parts_is_ready_to_learn_from():
    generator = torch.Generator().manual_seed(0)
    parts = []
    for envs in ([0, 2], [], [1], [0, 1, 2]):
        n = len(envs)
        parts.append(
            {
                "env": torch.tensor(envs, dtype=torch.int64),
                "obs": torch.randn(n, 3, generator=generator),
                "critic_obs": torch.randn(n, 4, generator=generator),
                "next_critic_obs": torch.randn(n, 4, generator=generator),
                "action": torch.randn(n, 6, generator=generator),
                "mean": torch.randn(n, 6, generator=generator),
                "log_prob": torch.randn(n, generator=generator),
                "reward": torch.randn(n, generator=generator),
                "discount": torch.full((n,), 0.9),
                "done": torch.zeros(n, dtype=torch.bool),
            }
        )
    buffer = make_rollout(parts, lambda critic_obs: critic_obs.sum(1), LAM)
    (batch,) = buffer.minibatches(None, generator)
    assert batch.actor_obs.shape == (6, 3)
    assert torch.equal(batch.action, torch.cat([part["action"] for part in parts]))
    assert torch.equal(batch.value, torch.cat([part["critic_obs"] for part in parts]).sum(1))
    assert torch.equal(batch.returns, batch.advantage + batch.value)
    sizes = [len(part.action) for part in buffer.minibatches(4, generator)]
    assert sizes == [3, 3]  # as even as they go, none above 4
