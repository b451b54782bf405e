"""A base and a residual run on one_leg_insert that nobody trained."""

from __future__ import annotations

from pathlib import Path

import torch

from robofb.envs import make_task
from robofb.nets.mlp import MlpDenoiser
from robofb.policies.diffusion import DiffusionPolicy
from robofb.policies.residual import ResidualPolicy
from robofb.run import Run
from robofb.sim.vec_env import SimVecEnv

TASK = {"_target_": "robofb.envs.furniture.one_leg_insert.OneLegInsert", "max_steps": 10}
DENOISER = {"_target_": "robofb.nets.mlp.MlpDenoiser", "_partial_": True, "width": 64, "num_blocks": 2}


POLICY = {
    "_target_": "robofb.policies.diffusion.DiffusionPolicy",
    "_partial_": True,
    "horizon": 16,
    "execute": 8,
    "denoiser": DENOISER,
}


def diffusion_policy(env: SimVecEnv) -> DiffusionPolicy:
    """Return a policy whose actions are drawn from the whole box."""
    torch.manual_seed(0)
    policy = DiffusionPolicy(
        env.spec, lambda **sizes: MlpDenoiser(**sizes, width=64, num_blocks=2), horizon=16, execute=8
    )
    low, high = torch.tensor(env.spec.action.low), torch.tensor(env.spec.action.high)
    ones = torch.ones(env.spec.obs["state"].shape)
    policy.set_stats(
        {
            "state": {"min": -ones, "max": ones, "mean": 0 * ones, "std": ones},
            "action": {"min": low, "max": high, "mean": low, "std": high},
        }
    )
    return policy.eval()


def save_base_run(path: Path) -> Run:
    """Save a run of behaviour cloning."""
    policy = diffusion_policy(SimVecEnv(make_task("one_leg_insert"), 1))
    with Run.create(path, {"task": TASK, "policy": POLICY}, "bc") as run:
        run.save_checkpoint({"spec": policy.spec.to_dict(), "policy": policy.state_dict()}, 1, best=True)
    return run


def save_residual_run(path: Path) -> Run:
    """Save a residual run whose correction is not zero."""
    env = SimVecEnv(make_task("one_leg_insert", max_steps=10), 1)
    policy = ResidualPolicy(diffusion_policy(env), hidden=[8], init_log_std=-1.0, correction=[0.01] * 10)
    torch.nn.init.constant_(policy.actor_critic.actor.mean[0].bias, 1.0)
    torch.nn.init.constant_(policy.actor_critic.actor.mean[-1].weight, 0.01)
    with Run.create(path, {"task": TASK}, "residual") as run:
        state = {"spec": policy.spec.to_dict(), "policy": policy.state_dict()}
        state |= {"residual": policy.settings, "base_policy": POLICY}
        run.save_checkpoint(state, step=1, best=True)
    return run
