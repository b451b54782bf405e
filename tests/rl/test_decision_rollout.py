"""Tests of robofb.rl.decision_rollout."""

import torch

from robofb.rl.decision_rollout import make_rollout

LAM = 0.5


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
