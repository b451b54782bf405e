"""Noise on observed poses: its size, where it goes, and that an episode repeats."""

import math

import pytest
import torch
from engine_scene import NAMES

from robofb.build import build
from robofb.config import compose
from robofb.envs.furniture.one_leg_insert import STATE_NAMES, OneLegInsert
from robofb.errors import UserError
from robofb.geometry import rot6d_to_matrix, rotation_angle
from robofb.loading import make_env
from robofb.sim.pose_noise import PoseNoise
from robofb.sim.vec_env import SimVecEnv

NOISE = {"pose_noise_m": 0.005, "pose_noise_rad": 0.02}
LEG = STATE_NAMES.index("leg_pos_base_x")
HOLD = torch.tensor([0.45, 0.0, 0.2, 1, 0, 0, 0, -1, 0, -1])


def played(num_envs, noise, seed=0, steps=2):
    env = SimVecEnv(OneLegInsert(**noise), num_envs)
    states = [env.reset(seed)["state"]]
    states += [env.step(HOLD.expand(num_envs, -1)).obs["state"] for _ in range(steps)]
    env.close()
    return torch.stack(states)


def test_parts_are_seen_with_noise_of_the_given_size_and_the_robot_without():
    """512 episodes: 1,536 shifts; the mean of |angle| is 0.02 sqrt(2 / pi)."""
    true, seen = played(512, {}, steps=0)[0], played(512, NOISE, steps=0)[0]
    assert torch.equal(true[:, :16], seen[:, :16])
    shift = (seen - true)[:, LEG : LEG + 3]
    assert shift.std().item() == pytest.approx(0.005, rel=0.06)
    assert abs(shift.mean().item()) < 3 * 0.005 / 1536**0.5
    turns = [rot6d_to_matrix(state[:, LEG + 3 : LEG + 9].double()) for state in (true, seen)]
    angle = rotation_angle(*turns).mean().item()
    assert angle == pytest.approx(0.02 * math.sqrt(2 / math.pi), rel=0.1)


@pytest.mark.parametrize("engine", NAMES)
def test_a_config_asks_for_it_on_every_engine(engine):
    """64 episodes: 192 shifts."""
    chosen = [f"engine={engine}", *(["engine.device=cpu"] if engine == "warp" else [])]
    words = ["task=one_leg_insert", "out=x", *chosen]
    plain = compose("collect", words)
    noisy = compose("collect", [*words, "task.pose_noise_m=0.005"])
    shown = []
    for cfg in (plain, noisy):
        env = make_env(cfg.task, cfg.engine, 64)
        shown.append(env.reset(0)["state"])
        env.close()
    shift = (shown[1] - shown[0])[:, LEG : LEG + 3]
    assert shift.std().item() == pytest.approx(0.005, rel=0.2)
    assert build(noisy.task).meta["pose_noise"] == {"position_m": 0.005, "rotation_rad": 0.0}
    assert "pose_noise" not in build(plain.task).meta


def test_functions_of_poses_follow():
    seen = played(4, NOISE, steps=0)[0]
    torch.testing.assert_close(OneLegInsert().complete(seen), seen)


def test_an_episode_shows_the_same_whatever_the_number_of_envs_and_other_noise_at_every_step():
    three, one = played(3, NOISE), played(1, NOISE)
    assert torch.equal(three[:, :1], one)
    still = three[1:] - played(3, {})[1:]
    assert not torch.allclose(still[0, :, LEG], still[1, :, LEG], atol=1e-4)


def test_what_is_done_and_judged_stays_true():
    """Noise is in the eye alone: the physics goes as without."""
    noisy, plain = SimVecEnv(OneLegInsert(**NOISE), 2), SimVecEnv(OneLegInsert(), 2)
    for env in (noisy, plain):
        env.reset(0)
        env.step(HOLD.expand(2, -1))
    assert torch.equal(noisy.engine.snapshot(), plain.engine.snapshot())


def test_bad_noise_and_tasks_that_cannot_follow_are_refused():
    with pytest.raises(UserError, match="pose_noise_m=-1: needs at least 0"):
        PoseNoise(position_m=-1)
    with pytest.raises(UserError, match="one_leg_insert has no method 'complete'"):
        PoseNoise(0.005).check(OneLegInsert().spec, None)
