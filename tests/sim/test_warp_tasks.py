"""Every furniture task on Warp's CPU device: control steps begun in MuJoCo's state end where MuJoCo's do."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from engine_scene import make_engine

from robofb.envs import make_task, scripted_task_names
from robofb.sim.mujoco_engine import MujocoEngine
from robofb.sim.vec_env import SimVecEnv

pytest.importorskip("mujoco_warp")
BOTH = torch.arange(2)
STEPS = 25  # on the way to the first part, which stands on the table
TASKS = [
    name for name in scripted_task_names() if name != "one_leg_insert"
]  # test_warp_engine.py looks closer


@pytest.mark.parametrize("task", TASKS)
def test_control_steps_end_where_mujocos_do(task: str) -> None:
    """Of the arm and of all that is seen; where a contact is just being made rounding decides."""
    found = SimVecEnv(make_task(task), 2, partial(make_engine, "warp"))
    reference = SimVecEnv(make_task(task), 2, MujocoEngine)
    found.reset(3)
    obs = reference.reset(3)
    agent = reference.task.expert(2, 0.5)
    agent.reset(torch.ones(2, dtype=torch.bool), reference.episode_seed)
    arm, seen = [], []
    for _ in range(STEPS):
        found.engine.restore(BOTH, reference.engine.snapshot())
        action = agent.next(obs)
        theirs, ours = reference.step(action), found.step(action)
        qpos = [env.engine.field("qpos")[:, :9].double() for env in (found, reference)]
        arm.append((qpos[0] - qpos[1]).abs().amax(1))
        seen.append((ours.obs["state"] - theirs.obs["state"]).abs().amax(1))
        assert torch.equal(ours.info["stage"], theirs.info["stage"])
        assert torch.equal(ours.reward, theirs.reward)
        obs = theirs.obs
    for env in (found, reference):
        env.close()
    assert torch.cat(arm).quantile(0.9) < 5e-6
    assert torch.cat(seen).median() < 1e-4
