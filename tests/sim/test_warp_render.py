"""Pictures of all worlds at once, on Warp's CPU device, beside MuJoCo's own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
import torch
from engine_scene import make_engine

from robofb.config import compose
from robofb.envs import make_task
from robofb.errors import UserError
from robofb.loading import make_env
from robofb.sim.mujoco_engine import MujocoEngine
from robofb.sim.render import image_facts
from robofb.sim.vec_env import SimVecEnv
from robofb.sim.visuals import VisualRandomization

pytest.importorskip("mujoco_warp")
CAMERAS = {"wrist": (48, 64), "front": (72, 72)}  # another order than the scene's, and other sizes
HOLD = torch.tensor([0.45, 0.0, 0.2, 1, 0, 0, 0, -1, 0, -1])


def make(num_worlds: int) -> SimVecEnv:
    engine = partial(make_engine, "warp", renderer="warp")
    return SimVecEnv(make_task("one_leg_insert"), num_worlds, engine, CAMERAS)


@pytest.fixture(scope="module")
def env() -> Iterator[SimVecEnv]:
    env = make(3)
    yield env
    env.close()


def test_pictures_are_nearly_mujocos(env: SimVecEnv) -> None:
    reference = SimVecEnv(make_task("one_leg_insert"), 3, MujocoEngine, CAMERAS)
    found, expected = env.reset(0), reference.reset(0)
    reference.close()
    for name, size in CAMERAS.items():
        ours, theirs = found[f"image_{name}"], expected[f"image_{name}"]
        assert ours.shape == (3, 3, *size) and ours.dtype == torch.uint8
        assert (ours.float() - theirs.float()).abs().mean() < 4
        assert np.corrcoef(ours.flatten(), theirs.flatten())[0, 1] > 0.95


def test_every_world_has_its_own_picture_whatever_the_others_are(env: SimVecEnv) -> None:
    alone = make(1)
    both = env.reset(4), alone.reset(4)
    for _ in range(3):
        both = env.step(HOLD.expand(3, -1)).obs, alone.step(HOLD.expand(1, -1)).obs
    alone.close()
    for name in CAMERAS:
        ours, theirs = (obs[f"image_{name}"] for obs in both)
        assert torch.equal(ours[:1], theirs)
        assert not torch.equal(ours[0], ours[1])


def test_a_picture_follows_what_happens_and_only_what_is_asked_for_is_seen_anew(env: SimVecEnv) -> None:
    before = env.reset(1)["image_front"]
    after = env.step(HOLD.expand(3, -1)).obs["image_front"]
    assert all(not torch.equal(*pair) for pair in zip(before, after, strict=True))
    assert env.images is not None
    assert torch.equal(env.images.observe(torch.tensor([2]))["image_front"][0], after[2])


def test_a_config_asks_for_it() -> None:
    words = ["task=one_leg_insert", "out=x", "engine=warp", "engine.device=cpu", "engine.renderer=warp"]
    cfg = compose("collect", words)
    env = make_env(cfg.task, cfg.engine, 2, {"front": (32, 32)})
    assert env.reset(0)["image_front"].float().std() > 10
    assert image_facts(env)["renderer"] == "warp"
    env.close()


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(UserError, match="engine.renderer=gl: no such renderer; valid: mujoco, warp"):
        make_engine("warp", make_task("one_leg_insert").build(), 1, renderer="gl")
    engine = partial(make_engine, "warp", renderer="warp")
    with pytest.raises(UserError, match="looks do not vary there; say engine.renderer=mujoco"):
        SimVecEnv(make_task("one_leg_insert"), 1, engine, CAMERAS, visuals=VisualRandomization(light=0.3))
