"""Who acts in trials: what they go by, and when it changes."""

from __future__ import annotations

import pytest
import torch

from robofb.envs.meta.grid_navi import GridNavi
from robofb.envs.meta.point_robot_sparse import PointRobotSparse
from robofb.policies.hyper import HyperPolicy
from robofb.policies.trial_agents import BeliefAgent, SamplingAgent, ToldAgent, UnadaptedAgent
from robofb.rng import EpisodeRng

SIZES = {"latent": 3, "memory": 8}
NUM_ENVS, HORIZON = 4, 5


def make_policy(family=None, temperature: float = 0.0) -> HyperPolicy:
    family = family or GridNavi(max_steps=HORIZON)
    generator = torch.Generator().manual_seed(0)
    policy = HyperPolicy(family.spec, SIZES, hidden=(8,), temperature=temperature, generator=generator)
    policy.watch(torch.randn(40, 6, generator=generator))
    return policy


def course(agent, family=None, steps: int = 12):
    """Yield what the agent goes by before each step, and whether an episode has just ended."""
    family = family or GridNavi(max_steps=HORIZON)
    env = family.fixed(family.draw_params(env_rng())).make_env(NUM_ENVS)
    obs = env.reset(3)
    agent.begin(env.episode_seed)
    done = torch.ones(NUM_ENVS, dtype=torch.bool)
    for _ in range(steps):
        yield agent.acts_on(), done
        action = agent.next(obs)
        step = env.step(action)
        agent.watch(obs, action, step)
        obs, done = step.obs, step.done


def env_rng() -> EpisodeRng:
    return EpisodeRng(torch.arange(NUM_ENVS))


def test_a_belief_is_carried_over_the_ends_of_episodes_and_forgotten_between_trials() -> None:
    agent = BeliefAgent(make_policy(), NUM_ENVS)
    first = [belief.flat() for belief, _ in course(agent)]
    again = [belief.flat() for belief, _ in course(agent)]
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    blank = agent.policy.encoder.read(agent.policy.encoder.blank(NUM_ENVS)).flat()
    assert torch.equal(first[0], blank)
    assert not any(torch.equal(belief, blank) for belief in first[1:])  # not at step 5 and 10 either


def test_choices_by_chance_come_as_often_as_their_values_say() -> None:
    policy, count = make_policy(temperature=0.2), 20_000
    state, belief = torch.full((count, 2), 1.0), torch.zeros(count, 6)
    rng = EpisodeRng(torch.arange(count))
    found = torch.bincount(policy.act(state, belief, rng)[:, 0], minlength=5) / count
    values = policy.net(policy.inputs(state[:1], belief[:1])[None])[0, 0]
    torch.testing.assert_close(found, (values / 0.2).softmax(-1), atol=0.02, rtol=0)
    greedy = make_policy().act(state, belief, rng)
    assert (greedy == values.argmax()).all()


def test_an_envs_choices_by_chance_are_its_own() -> None:
    """The same trial again chooses the same; as part of a larger batch too."""
    policy, seeds = make_policy(temperature=5.0), torch.arange(NUM_ENVS)
    one, other = BeliefAgent(policy, NUM_ENVS), BeliefAgent(policy, 2)
    obs = {"state": torch.ones(NUM_ENVS, 2)}
    one.begin(seeds)
    first = [one.next(obs) for _ in range(8)]
    one.begin(seeds)
    assert all(torch.equal(one.next(obs), action) for action in first)
    other.begin(seeds[:2])
    assert all(torch.equal(other.next({"state": torch.ones(2, 2)}), action[:2]) for action in first)
    assert len({int(action[0]) for action in first}) > 1


def test_a_sampling_agent_draws_where_an_episode_starts_and_only_there() -> None:
    policy = make_policy()
    before = None
    for belief, starts in course(SamplingAgent(policy, NUM_ENVS)):
        assert torch.equal(belief.log_variance, policy.certain.expand(NUM_ENVS, -1))
        if before is not None:
            assert torch.equal((belief.mean != before).all(-1), starts)
            assert torch.equal((belief.mean == before).all(-1), ~starts)
        before = belief.mean


def test_draws_follow_the_belief_and_the_trials_seed() -> None:
    policy, count = make_policy(), 4000
    agent = SamplingAgent(policy, count)
    agent.begin(torch.arange(count))
    drawn = agent.acts_on().mean
    belief = policy.encoder.read(policy.encoder.blank(1))
    deviation = (0.5 * belief.log_variance[0]).exp()
    error = deviation / count**0.5
    assert ((drawn.mean(0) - belief.mean[0]).abs() < 5 * error).all()
    torch.testing.assert_close(drawn.std(0), deviation, rtol=0.06, atol=0)
    agent.begin(torch.arange(count).flip(0))
    assert torch.equal(agent.acts_on().mean, drawn.flip(0))


def test_who_does_not_adapt_goes_by_the_first_belief_at_every_step() -> None:
    beliefs = [belief.flat() for belief, _ in course(UnadaptedAgent(make_policy(), NUM_ENVS))]
    assert all(torch.equal(belief, beliefs[0]) for belief in beliefs)


@pytest.mark.parametrize("family", [GridNavi(), PointRobotSparse()])
def test_who_is_told_earns_what_its_teacher_would(family) -> None:
    env = family.fixed(family.draw_params(env_rng())).make_env(NUM_ENVS)
    agent = ToldAgent(family.teacher(), chooses=family.spec.action.dtype == "int64")
    obs = env.reset(0)
    agent.begin(env.episode_seed)
    for _ in range(family.spec.max_steps - 1):
        step = env.step(agent.next(obs))
        obs = step.obs
    assert (step.reward == 1).all()
