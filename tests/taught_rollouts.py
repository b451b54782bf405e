"""Play taught tasks of the engines by rules of one line, many episodes at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robofb.interfaces import Engine
from robofb.sim.mujoco_engine import MujocoEngine
from robofb.sim.vec_env import SimVecEnv

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))  # where the rules are

from taught_rules import Rule


def one_thread(model: Any, num_worlds: int) -> Engine:
    return MujocoEngine(model, num_worlds, num_threads=1)


def play(task: Any, rule: Rule, episodes: int, seed: int = 0) -> dict[str, Tensor]:
    """Return the last `info` of each of these episodes, (episodes,) by name."""
    env = SimVecEnv(task, episodes, one_thread, autoreset=False)
    obs = env.reset(seed)
    found: dict[str, Tensor] = {}
    ended = torch.zeros(episodes, dtype=torch.bool)
    for _ in range(task.spec.max_steps):
        step = env.step(rule(obs))
        first = step.done & ~ended
        for name, values in step.info.items():
            found[name] = torch.where(first, values, found.get(name, values))
        ended |= step.done
        obs = step.obs
        if ended.all():
            break
    env.close()
    assert ended.all()
    return found


def rate(task: Any, rule: Rule, episodes: int, seed: int = 0) -> float:
    """Return the share of these episodes that succeed."""
    return play(task, rule, episodes, seed)["success"].float().mean().item()
