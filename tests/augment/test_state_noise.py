"""State noise: metres and radians as asked, rotations that stay rotations, features that follow."""

import numpy as np
import pytest
import torch

from robofb import config
from robofb.augment.state_noise import StateNoise, StateNoiseTransform
from robofb.envs import make_task
from robofb.envs.furniture.one_leg_insert_expert import OneLegInsertExpert
from robofb.errors import UserError
from robofb.geometry import rotation_angle
from robofb.sim.vec_env import SimVecEnv
from robofb.train.bc import make_augment, make_policy
from robofb.train.bc_config import make_noise
from robofb.types import ArraySpec, Batch


@pytest.fixture(scope="module")
def task():
    return make_task("one_leg_insert")


@pytest.fixture(scope="module")
def states(task):
    """Return (B, 45) states along expert episodes."""
    env, agent = SimVecEnv(task, 4), OneLegInsertExpert(4)
    obs = env.reset(0)
    agent.reset(torch.ones(4, dtype=torch.bool), env.episode_seed)
    seen = []
    for _ in range(45):
        obs = env.step(agent.next(obs)).final_obs
        seen.append(obs["state"])
    env.close()
    return torch.cat(seen)


def batch_of(states, size=4000, history=2):
    rows = states[torch.arange(size) % len(states)]
    history_rows = rows[:, None].repeat(1, history, 1)
    ones = torch.ones(size)
    return Batch({"state": history_rows}, torch.zeros(size, 4, 10), ones[:, None].bool().repeat(1, 4), ones)


def test_completed_states_are_what_the_simulator_shows(task, states):
    """The oracle is MuJoCo's own frame sensors, in all phases of an episode."""
    np.testing.assert_allclose(task.complete(states), states, atol=2e-5)
    ruined = states.clone()
    ruined[:, 34:] = 0.5
    np.testing.assert_allclose(task.complete(ruined), states, atol=2e-5)


def test_magnitudes_are_metric_and_only_the_share_moves(task, states):
    transform = StateNoiseTransform(task.spec, StateNoise(0.01, 0.1, 0.2), task.complete)
    batch = batch_of(states)
    noisy = transform(batch, torch.Generator().manual_seed(0)).obs["state"]
    moved = (noisy != batch.obs["state"]).flatten(1).any(1)
    assert abs(moved.float().mean() - 0.2) < 0.02
    for pose in transform.poses.values():
        before, after = batch.obs["state"][moved], noisy[moved]
        shift = (after - before)[..., pose.position]
        assert shift.std().item() == pytest.approx(0.01, rel=0.06) and shift.mean().abs() < 1e-3
        angle = rotation_angle(pose.matrix(before), pose.matrix(after))
        assert angle.square().mean().sqrt().item() == pytest.approx(0.1, rel=0.06)  # about any axis
    unmoved = batch.obs["state"][~moved]
    assert torch.equal(noisy[~moved], unmoved)


def test_moved_states_are_consistent(task, states):
    transform = StateNoiseTransform(task.spec, StateNoise(0.02, 0.2, 1.0), task.complete)
    batch = batch_of(states, 500)
    noisy = transform(batch, torch.Generator().manual_seed(1)).obs["state"]
    for pose in transform.poses.values():
        six = noisy[..., pose.rotation].unflatten(-1, (2, 3))
        np.testing.assert_allclose(six @ six.mT, torch.eye(2).expand(500, 2, 2, 2), atol=1e-5)
    velocities_and_width = slice(9, 16)
    assert torch.equal(noisy[..., velocities_and_width], batch.obs["state"][..., velocities_and_width])
    assert torch.equal(noisy[:, 0], noisy[:, 1])  # a history moves as one
    np.testing.assert_allclose(task.complete(noisy), noisy, atol=1e-6)  # features follow from the poses
    features = slice(34, 45)
    assert (noisy[..., features] - batch.obs["state"][..., features]).abs().max() > 0.1


@pytest.mark.parametrize("noise", [StateNoise(0, 0, 1.0), StateNoise(0.01, 0.1, 0.0)])
def test_no_noise_changes_no_bit(task, states, noise):
    batch, generator = batch_of(states, 50), torch.Generator().manual_seed(0)
    before = generator.get_state()
    after = StateNoiseTransform(task.spec, noise, task.complete)(batch, generator)
    assert torch.equal(after.obs["state"], batch.obs["state"])
    assert torch.equal(generator.get_state(), before)


def test_same_seed_same_noise_and_the_batch_given_stays(task, states):
    transform = StateNoiseTransform(task.spec, StateNoise(), task.complete)
    batch = batch_of(states, 200)
    kept = batch.obs["state"].clone()
    first, again, other = (transform(batch, torch.Generator().manual_seed(s)).obs["state"] for s in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(batch.obs["state"], kept)


def test_what_cannot_be_done_is_refused(task):
    with pytest.raises(UserError, match="tcp_to_grasp_tcp_x_tanh_2cm.*complete"):
        StateNoiseTransform(task.spec, StateNoise())
    plain = task.spec.with_obs({"state": ArraySpec((2,), names=("a", "b"))})
    with pytest.raises(UserError, match="no observation names ee_pos"):
        StateNoiseTransform(plain, StateNoise())


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("state_noise.shre=0.1", "no key 'shre'; valid: position_m, rotation_rad, share"),
        ("state_noise.share=much", "share=much: needs a number"),
        ("state_noise.share=1.5", "share=1.5: must be at most 1"),
        ("state_noise.position_m=-1", "position_m=-1.0: needs at least 0"),
    ],
)
def test_bad_settings_are_one_line(word, message):
    with pytest.raises(UserError, match=message):
        config.compose("train_bc", ["data=d", word])


def test_config_says_which_noise(task):
    cfg = config.compose("train_bc", ["data=d", "state_noise.position_m=0.02"])
    policy = make_policy(cfg.policy, task.spec)
    (made,) = make_augment(cfg, policy, task)
    assert made.noise == StateNoise(0.02, 0.1, 0.2)
    assert make_augment(config.compose("train_bc", ["data=d"]), policy, task) == []
    whole = config.compose("train_bc", ["data=d", "state_noise={position_m:0.02,share:0.5}"])
    assert make_noise(whole.state_noise) == StateNoise(0.02, 0.1, 0.5)
