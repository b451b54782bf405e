"""A run on one_leg_insert whose policy sees a camera; nobody trained it: it stays about where it is."""

from __future__ import annotations

from pathlib import Path

import torch

from robofb.build import build
from robofb.deploy.tool_target import ACTION_NAMES
from robofb.envs import make_task
from robofb.run import Run
from robofb.sim.vec_env import SimVecEnv

TASK = {"_target_": "robofb.envs.furniture.one_leg_insert.OneLegInsert"}
SIZE_PX = (32, 48)
ABOUT_M = 0.03  # which the policy goes, each way
POLICY = {
    "_target_": "robofb.policies.mlp_chunk.MlpChunkPolicy",
    "_partial_": True,
    "_convert_": "all",
    "obs_keys": ["state", "image_front"],
    "elements": {"state": ["ee_"]},
    "horizon": 8,
    "execute": 4,
    "image_encoder": {
        "_target_": "robofb.policies.image_encoder.ImageEncoder",
        "_partial_": True,
        "num_features": 8,
        "network": {
            "_target_": "robofb.nets.vision.ResNet",
            "_partial_": True,
            "channels": [8],
            "blocks": [1],
            "strides": [1],
            "group_size": 4,
        },
        "pooling": {"_target_": "robofb.nets.vision.SpatialSoftmax", "_partial_": True, "keypoints": 4},
    },
    "regressor": {"_target_": "robofb.nets.mlp.MlpRegressor", "_partial_": True, "width": 16},
}


def save_image_run(path: Path, max_steps: int) -> Run:
    """Save a run whose actions are places about the task's start, the tool turned as it is there."""
    task = make_task("one_leg_insert", max_steps=max_steps)
    env = SimVecEnv(task, 1, cameras={"front": SIZE_PX})
    seen = env.spec.obs["state"].names.index("ee_pos_base_x")
    start = torch.cat([env.reset(0)["state"][0, seen : seen + 9], -torch.ones(1)])
    room = torch.tensor([ABOUT_M] * 3 + [0.02] * 6 + [0.01])
    torch.manual_seed(0)
    policy = build(POLICY, env.spec)
    ones = torch.ones(env.spec.obs["state"].shape)
    state = {"min": -ones, "max": ones, "mean": 0 * ones, "std": ones}
    action = {"min": start - room, "max": start + room, "mean": start, "std": room}
    policy.set_stats({"state": state, "action": action})
    assert len(ACTION_NAMES) == len(start)
    env.close()
    with Run.create(path, {"task": {**TASK, "max_steps": max_steps}}, "bc") as run:
        kept = {"spec": policy.spec.to_dict(), "policy": policy.state_dict(), "policy_node": POLICY}
        run.save_checkpoint(kept, step=1, best=True)
    return run
