"""How long one iteration of ResiP takes: rollout with the base policy in it, and PPO's update.

python benchmarks/iteration.py [--task one_leg] [--policy unet_diffusion] [--preset paper] [--num-envs 1024]
    [--steps 700] [--engine mujoco] [--device auto] [--iterations 2]

The base is untrained: it costs what a trained one does, and its arm wanders over the parts. The first
iteration compiles and is not timed. What was measured with other settings stays saved.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from results import add_row

from robofb.config import compose
from robofb.interfaces import VecEnv
from robofb.loading import build_policy, make_env
from robofb.provenance import machine
from robofb.train.residual_config import ResidualConfig
from robofb.train.residual_learner import ResidualLearner
from robofb.train.residual_parts import make_ppo, make_residual_policy


def untrained(name: str, env: VecEnv) -> Any:
    """Return a base policy whose actions come from the whole box."""
    policy = build_policy(compose("train_bc", ["data=none", f"policy={name}"]).policy, env.spec.to_dict())
    low, high = torch.tensor(env.spec.action.low), torch.tensor(env.spec.action.high)
    ones = torch.ones(env.spec.obs["state"].shape)
    state = {"min": -ones, "max": ones, "mean": 0 * ones, "std": ones}
    policy.set_stats({"state": state, "action": {"min": low, "max": high, "mean": low, "std": high}})
    return policy.eval().requires_grad_(False)


def measure(cfg: ResidualConfig, policy: str, iterations: int) -> dict[str, Any]:
    """Return the seconds of an iteration, and the shares of its parts."""
    torch.set_num_threads(cfg.threads)
    env: Any = make_env(cfg.task, cfg.engine, cfg.num_envs)
    residual = make_residual_policy(cfg, untrained(policy, env)).to(env.device)
    learner = ResidualLearner(residual, env, make_ppo(cfg, residual, env), seed=0, threads=cfg.threads)
    learner.step()
    before, started = dict(learner.clock.seconds), time.perf_counter()
    for _ in range(iterations):
        learner.step()
    if env.device.type == "cuda":
        torch.cuda.synchronize(env.device)
    seconds = (time.perf_counter() - started) / iterations
    parts = {name: (now - before[name]) / iterations for name, now in learner.clock.seconds.items()}
    env.close()
    return {
        "iteration_s": seconds,
        "env_steps_per_s": cfg.num_envs * cfg.rollout_steps / seconds,
        "seconds_by_part": parts,
    }


def main() -> None:
    """Measure and save a row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", default="one_leg")
    parser.add_argument("--policy", default="unet_diffusion", help="of the base: a config of train bc")
    parser.add_argument("--preset", default="paper", help="of train residual")
    parser.add_argument("--num-envs", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--engine", choices=["mujoco", "warp"], default="mujoco")
    parser.add_argument("--device", default="auto", help="of the engine warp")
    parser.add_argument("--iterations", type=int, default=2)
    args = parser.parse_args()
    words = [f"task={args.task}", f"engine={args.engine}", f"preset={args.preset}", "base=none"]
    words += [f"num_envs={args.num_envs}", f"rollout_steps={args.steps}"]
    words += [f"engine.device={args.device}"] if args.engine == "warp" else []
    cfg: Any = compose("train_residual", words)
    facts = {
        name: getattr(args, name)
        for name in ("task", "policy", "preset", "engine", "device", "num_envs", "steps")
    }
    row = {**facts, **measure(cfg, args.policy, args.iterations), "machine": machine()}
    add_row("iteration", "rows", row, tuple(facts))


if __name__ == "__main__":
    main()
