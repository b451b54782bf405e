"""Control steps/s of SimVecEnv.step against the number of worlds, and the share of each stage.

Called by `python benchmarks/sim.py --worlds 64 256 1024 [--engine warp]`.

The expert plays 64 worlds on MuJoCo once. Its start states and actions, repeated, drive any number of worlds
on any engine open loop; worlds whose episode ends start anew, as in training.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robofb.charts import Line, curve_chart
from robofb.envs import make_task
from robofb.interfaces import ScriptedTask
from robofb.report import html_page
from robofb.sim.vec_env import SimVecEnv

NUM_PLAYED = 64


def wait(device: torch.device) -> None:
    """Let a GPU finish what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def play(task: str, steps: int) -> tuple[Tensor, Tensor]:
    """Return start states (64, S) and actions (T, 64, A) of the expert."""
    env = SimVecEnv(make_task(task), NUM_PLAYED)
    assert isinstance(env.task, ScriptedTask)
    agent = env.task.expert(NUM_PLAYED, 1.0)
    obs = env.reset(0)
    agent.reset(torch.ones(NUM_PLAYED, dtype=torch.bool), env.episode_seed)
    start, actions = env.engine.snapshot(), []
    for _ in range(steps):
        actions.append(agent.next(obs))
        step = env.step(actions[-1])
        agent.reset(step.done, env.episode_seed)
        obs = step.obs
    env.close()
    return start, torch.stack(actions)


def time_steps(env: SimVecEnv, start: Tensor, actions: Tensor) -> float:
    """Return the seconds that `SimVecEnv.step` takes for the actions (T, B, A)."""
    env.restore(start)
    wait(env.device)
    before = time.perf_counter()
    for action in actions:
        env.step(action)
    wait(env.device)
    return time.perf_counter() - before


def time_stages(env: SimVecEnv, start: Tensor, actions: Tensor) -> dict[str, float]:
    """Return the seconds of each stage of the same control steps, without ends of episodes."""
    env.restore(start)
    stages: dict[str, Callable[[Tensor], Any]] = {
        "apply": lambda action: env.task.apply(env.engine, action),
        "physics": lambda action: env.engine.step(env.task.num_substeps),
        "score": lambda action: env.task.score(env.engine),
        "observe": lambda action: env.task.observe(env.engine),
    }
    seconds = dict.fromkeys(stages, 0.0)
    for action in actions:
        for name, stage in stages.items():
            wait(env.device)
            before = time.perf_counter()
            stage(action)
            wait(env.device)
            seconds[name] += time.perf_counter() - before
    return seconds


def measure(
    engine: Any, task: str, num_worlds: int, start: Tensor, actions: Tensor, repeats: int
) -> dict[str, Any]:
    """Return control steps/s of one number of worlds and the shares of its stages."""
    env = SimVecEnv(make_task(task), num_worlds, engine)
    rows = torch.arange(num_worlds) % NUM_PLAYED
    start, actions = start[rows], actions[:, rows].to(env.device)
    for _ in range(2):  # compiles, then records CUDA graphs
        time_steps(env, start, actions[:2])
    seconds = statistics.median(time_steps(env, start, actions) for _ in range(repeats))
    stages = time_stages(env, start, actions)
    env.close()
    total = sum(stages.values())
    return {
        "steps_per_s": num_worlds * len(actions) / seconds,
        "ms_per_step": 1e3 * seconds / len(actions),
        "shares": {name: value / total for name, value in stages.items()},
    }


def scale(engine: Any, task: str, worlds: list[int], steps: int, repeats: int) -> dict[str, Any]:
    """Measure every number of worlds."""
    start, actions = play(task, steps)
    return {str(count): measure(engine, task, count, start, actions, repeats) for count in worlds}


def write_plot(name: str, task: str, sizes: dict[str, Any], path: Path) -> None:
    """Write a page with steps/s and shares against the number of worlds, both as powers of two."""
    exponents = [torch.tensor(float(count)).log2().item() for count in sizes]
    rate = [size["steps_per_s"] for size in sizes.values()]
    stages = list(next(iter(sizes.values()))["shares"])
    lines = [Line(stage, exponents, [100 * s["shares"][stage] for s in sizes.values()]) for stage in stages]
    across = "log2 of the number of worlds"
    body = curve_chart([Line(name, exponents, rate)], across, "control steps/s")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        html_page(f"Engine {name}: {task}", body + curve_chart(lines, across, "share of a step [%]"))
    )
