"""Transitions between hyper-states are those that an acting agent goes through."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rl.borel.examples import FAMILY, walks
from robofb.errors import DamagedError
from robofb.policies.hyper import HyperPolicy
from robofb.policies.trial_agents import BeliefAgent
from robofb.rl.borel.hyper_states import HyperTransitions, all_trials, hyper_transitions, weights_hash
from robofb.types import Step

SETTINGS = {"latent": 3, "memory": 8, "state_embedding": 4, "action_embedding": 4, "reward_embedding": 4}


def make_policy(seed: int = 0) -> HyperPolicy:
    return HyperPolicy(FAMILY.spec, SETTINGS, generator=torch.Generator().manual_seed(seed))


def test_beliefs_are_carried_over_episodes_as_an_acting_agent_carries_them() -> None:
    """Both by the same steps: rows of the batch against `BeliefAgent.watch`, step by step, to 1e-5."""
    histories, policy = walks(), make_policy()
    trials = histories.trials(torch.tensor([0, 1, 2]), torch.tensor([[0, 1, 2], [3, 4, 5], [1, 2, 3]]))
    rows = HyperTransitions.of(trials, policy.encoder).columns
    lengths = trials.lengths.tolist()
    starts = [0, lengths[0], lengths[0] + lengths[1]]
    agent = BeliefAgent(policy, 3)
    agent.begin(torch.zeros(3, dtype=torch.int64))
    for t in range(max(lengths)):
        belief = agent.belief.flat()
        none = torch.zeros(3, dtype=torch.bool)
        seen = {"state": trials.obs[:, t]}
        final = {"state": trials.next_obs[:, t]}
        agent.watch(seen, trials.action[:, t], Step(final, trials.reward[:, t], none, none, final, {}))
        after = agent.belief.flat()
        for which in range(3):
            if t >= lengths[which]:
                continue
            row = starts[which] + t
            torch.testing.assert_close(rows["state"][row], trials.obs[which, t])
            torch.testing.assert_close(rows["belief"][row], belief[which], atol=1e-5, rtol=0)
            torch.testing.assert_close(rows["next_belief"][row], after[which], atol=1e-5, rtol=0)
            assert rows["reward"][row] == trials.reward[which, t]


def test_after_an_episode_comes_the_next_ones_start() -> None:
    """Also where the episode ended at a goal: there is more to earn in the next one."""
    histories = walks()
    histories.obs[:, :, 0] += torch.rand(
        4, 6, 2, generator=torch.Generator().manual_seed(0)
    )  # tell starts apart
    policy, episodes = make_policy(), torch.tensor([[0, 1, 2]])
    trials = histories.trials(torch.tensor([2]), episodes)
    rows = HyperTransitions.of(trials, policy.encoder).columns
    t = 0
    for number in range(3):
        steps = int(histories.length[2, number])
        for step in range(steps):
            last = step == steps - 1
            following = histories.obs[2, (number + 1) % 3, 0] if last else histories.obs[2, number, step + 1]
            assert torch.equal(rows["next_state"][t], following)
            t += 1
    assert len(rows["reward"]) == t


def test_within_an_episode_its_own_next_state_comes_even_where_a_piece_of_another_follows() -> None:
    histories, policy = walks(ragged=False), make_policy()
    source, episodes = torch.tensor([[0, 3, 1]]), torch.tensor([[2, 1, 4]])
    steps = histories.horizon
    first = torch.tensor([[0, steps - 2, 1]])
    trials = histories.trials(torch.tensor([0]), episodes, source, first, steps=2)
    rows = HyperTransitions.of(trials, policy.encoder).columns
    expected = [
        histories.obs[0, 2, 1],
        histories.obs[0, 2, 2],  # not where the next piece begins
        histories.obs[3, 1, steps - 1],
        histories.obs[1, 4, 0],  # the episode ended: one begins
        histories.obs[1, 4, 2],
        histories.obs[1, 4, 3],
    ]
    assert torch.equal(rows["next_state"], torch.stack(expected))


def test_every_trial_of_every_log_is_there_once() -> None:
    histories = walks(episodes=6)
    trials = list(all_trials(histories, 2))
    agents = torch.cat([each.task for each in trials])
    assert torch.bincount(agents).tolist() == [3, 3, 3, 3]
    assert sum(int(each.valid.sum()) for each in trials) == int(histories.length.sum())


def test_they_are_kept_by_the_encoders_hash(tmp_path: Path) -> None:
    histories, policy = walks(), make_policy()
    first = hyper_transitions(histories, 2, policy.encoder, tmp_path)
    (path,) = tmp_path.iterdir()
    assert path.name == f"hyper_states-{weights_hash(policy.encoder)}.npz"
    before = path.stat().st_mtime_ns
    again = hyper_transitions(histories, 2, policy.encoder, tmp_path)
    assert path.stat().st_mtime_ns == before
    for name, column in first.columns.items():
        assert torch.equal(column, again.columns[name]), name
    other = make_policy(1)
    hyper_transitions(histories, 2, other.encoder, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DamagedError, match="remove it, and it is made anew"):
        hyper_transitions(histories, 2, policy.encoder, tmp_path)


def test_a_batch_is_what_single_task_learning_takes() -> None:
    histories, policy = walks(), make_policy()
    made = HyperTransitions.joined(
        [HyperTransitions.of(each, policy.encoder) for each in all_trials(histories, 2)]
    )
    policy.watch(made.columns["belief"])
    batch = made.sample(32, policy, 0.9, torch.Generator().manual_seed(0))
    assert batch["state"].shape == (1, 32, policy.in_dim) and batch["action"].dtype == torch.int64
    assert (batch["discount"] == 0.9).all()
    assert batch["state"][0, :, 2:].abs().max() <= 5.0
    assert policy(batch["state"]).shape == (1, 32, 5)
