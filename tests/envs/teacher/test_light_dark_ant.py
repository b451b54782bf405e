"""Light-Dark Ant: what a step pays, how readings err in the dark, and that both repeat exactly."""

import pytest
import torch
from engine_scene import make_engine
from taught_rollouts import one_thread

from robofb.envs.teacher.light_dark_ant import GOAL_XY_M, LightDarkAnt, l1_to_goal, pay
from robofb.errors import UserError
from robofb.sim.vec_env import SimVecEnv
from robofb.types import PRIVILEGED


@pytest.fixture(scope="module")
def task():
    return LightDarkAnt()


def draws(steps, num_envs, seed=0):
    """Return (steps, B, 8) torques that differ from step to step."""
    return 2 * torch.rand(steps, num_envs, 8, generator=torch.Generator().manual_seed(seed)) - 1


def put(env, places):
    """Put the ants at places (B, 2)."""
    env.engine.field("qpos")[:, :2] = torch.as_tensor(places, dtype=torch.float64)
    env.engine.forward(torch.arange(env.num_envs))


def errors(obs):
    """Return how wrong the readings are, (B, 2) [m]."""
    return obs["state"][:, :2] - obs[PRIVILEGED]


@pytest.mark.parametrize(
    ("place", "action", "expected"),
    [
        ((0.0, 0.0), [0.0] * 8, -3.0),  # 1 + 1 m away
        ((-1.0, 1.0), [0.0] * 8, 1.0),
        ((-1.05, 1.02), [1.0, 0.5, *[0.0] * 6], -0.105 + 1 - 0.125),
        ((-0.9, 1.01), [0.0] * 8, -0.165),  # 0.11 m: no bonus any more
        ((-1.0, 0.91), [0.0] * 8, -0.135 + 1),
        ((-2.0, -2.0), [2.0, -3.0, *[0.0] * 6], -6.0 - 0.2),  # larger actions count as 1
    ],
)
def test_a_step_pays_by_the_distance_and_the_effort(task, place, action, expected):
    env = SimVecEnv(task, 1, one_thread)
    env.reset(0)
    put(env, [place])
    task.apply(env.engine, torch.tensor([action]))
    score = task.score(env.engine)
    assert score.reward.item() == pytest.approx(expected, abs=1e-6)
    near = abs(place[0] + 1) + abs(place[1] - 1) < 0.1
    assert score.success.item() == near == bool(score.stage.item())


def test_every_step_is_paid_for_where_it_led(task):
    env = SimVecEnv(task, 4, one_thread)
    env.reset(0)
    for action in draws(10, 4):
        step = env.step(3 * action)
        effort = (3 * action).clamp(-1, 1).double().pow(2).sum(-1)
        expected = pay(l1_to_goal(step.final_obs[PRIVILEGED].double()), effort)
        torch.testing.assert_close(step.reward.double(), expected, atol=1e-5, rtol=0)
        assert step.reward.dtype == torch.float32 and (step.reward < 0).all()


def test_only_the_time_limit_ends_it_and_the_last_step_decides(task):
    """At the goal in the middle and away at the end is no success; to lie on the back ends nothing."""
    env = SimVecEnv(LightDarkAnt(max_steps=6), 4, one_thread)
    env.reset(0)
    away, there = (3.0, 3.0), GOAL_XY_M
    for index in range(6):
        put(env, [there if index == 2 else away, there if index == 5 else away, away, there])
        env.engine.field("qvel")[:] = 0
        if index == 1:
            env.engine.field("qpos")[2, 2:7] = torch.tensor([0.6, 0.0, 1.0, 0.0, 0.0]).double()
        step = env.step(torch.zeros(4, 8))
        assert not step.terminated.any() and step.truncated.tolist() == [index == 5] * 4
    assert step.info["success"].tolist() == [False, True, False, True]
    assert step.info["stage"].tolist() == [1, 1, 0, 1]
    assert step.info["fell"].tolist() == [False, False, True, False]


def test_starts_fill_the_square_in_the_dark(task):
    place = SimVecEnv(task, 512, one_thread).reset(0)[PRIVILEGED]
    assert (place > -2).all() and (place < 0).all()
    assert (place.mean(0) + 1).abs().max() < 0.08  # three deviations of the mean: 3 * 0.577 / 22.6
    assert (place.std(0) - 2 / 12**0.5).abs().max() < 0.06


def test_readings_are_right_in_the_light_and_err_within_the_depth_of_the_dark(task):
    env = SimVecEnv(task, 2000, one_thread)
    env.reset(0)
    depth = torch.linspace(-3, 1, 2000).double()
    put(env, torch.stack([depth, torch.full_like(depth, 5.0)], -1))
    wrong = errors(task.observe(env.engine))
    light = depth >= 0
    assert (wrong[light] == 0).all() and light.sum() == 500
    shares = wrong[~light] / -depth[~light, None]  # uniform in -1..1, of both axes
    assert (shares.abs() <= 1 + 1e-5).all() and (shares.abs().amax(0) > 0.99).all()
    assert shares.mean(0).abs().max() < 3 * (1 / 3 / 1500) ** 0.5
    assert (shares.var(0) - 1 / 3).abs().max() < 0.03
    assert torch.corrcoef(shares.T)[0, 1].abs() < 3 / 1500**0.5


def test_the_noise_is_new_in_every_step(task):
    """Not a constant shift: 40 steps of 16 ants that are held at x = -1."""
    env = SimVecEnv(task, 16, one_thread)
    rows = []
    env.reset(0)
    for _ in range(40):
        put(env, [(-1.0, 0.0)] * 16)
        obs = env.step(torch.zeros(16, 8)).obs
        rows.append(errors(obs) / -obs[PRIVILEGED][:, :1])
    series = torch.stack(rows)  # (T, B, 2)
    assert len(series.unique()) > 0.99 * series.numel()
    assert series.mean(0).abs().max() < 4.5 * (1 / 3 / 40) ** 0.5  # of each ant's own, over time
    one_later = torch.corrcoef(torch.stack([series[1:].flatten(), series[:-1].flatten()]))[0, 1]
    assert one_later.abs() < 3 / series.numel() ** 0.5


def test_an_episode_depends_on_its_seed_alone(task):
    many, few = SimVecEnv(task, 5, one_thread), SimVecEnv(task, 2, one_thread)
    whole, part, actions = many.reset(3), few.reset(3), draws(8, 5)
    seeds = many.episode_seed[[4, 1]]
    for action in actions:
        for key in ("state", PRIVILEGED):
            assert torch.equal(part[key], whole[key][:2])
        whole, part = many.step(action).obs, few.step(action[:2]).obs
    again = few.repeat(seeds)
    for action in actions:
        again = few.step(action[[4, 1]]).obs
    assert torch.equal(again["state"], whole["state"][[4, 1]])
    assert not torch.equal(many.reset(4)["state"], many.reset(3)["state"])


def test_a_saved_episode_goes_on_bit_for_bit(task):
    """Readings too, and across an end of episodes."""
    task = LightDarkAnt(max_steps=12)
    env, other = SimVecEnv(task, 3, one_thread), SimVecEnv(task, 3, one_thread)
    env.reset(1), other.reset(8)
    actions = draws(30, 3)
    for action in actions[:7]:
        seen = env.step(action).obs
    assert torch.equal(other.load_state_dict(env.state_dict())["state"], seen["state"])
    for action in actions[7:]:
        got, want = other.step(action), env.step(action)
        assert torch.equal(got.obs["state"], want.obs["state"]) and torch.equal(got.reward, want.reward)
        assert torch.equal(got.final_obs["state"], want.final_obs["state"])


def test_a_state_of_the_simulator_looks_as_it_did(task):
    env, other = (SimVecEnv(task, 3, one_thread, autoreset=False) for _ in range(2))
    env.reset(1), other.reset(8)
    for action in draws(5, 3):
        seen = env.step(action).obs
    assert torch.equal(other.restore(env.engine.snapshot())["state"], seen["state"])


def test_observing_twice_shows_the_same(task):
    env = SimVecEnv(task, 3, one_thread)
    env.reset(0)
    obs = env.step(draws(1, 3)[0]).obs
    assert torch.equal(task.observe(env.engine)["state"], obs["state"])


def test_warp_sees_and_pays_what_mujoco_does(task):
    """Every control step of an episode, begun in MuJoCo's state."""
    found = SimVecEnv(task, 2, lambda model, count: make_engine("warp", model, count))
    reference = SimVecEnv(task, 2, one_thread, autoreset=False)
    found.reset(3), reference.reset(3)
    for action in draws(40, 2):
        found.engine.restore(torch.arange(2), reference.engine.snapshot())
        theirs, ours = reference.step(0.5 * action), found.step(0.5 * action)
        torch.testing.assert_close(ours.obs["state"], theirs.obs["state"], atol=1e-3, rtol=0)
        torch.testing.assert_close(ours.obs[PRIVILEGED], theirs.obs[PRIVILEGED], atol=1e-5, rtol=0)
        torch.testing.assert_close(ours.reward, theirs.reward, atol=1e-4, rtol=0)
    found.close()


def test_an_episode_needs_a_step():
    with pytest.raises(UserError, match="max_steps=0: needs at least 1"):
        LightDarkAnt(max_steps=0)
