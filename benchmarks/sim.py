"""Control steps/s of the whole SimVecEnv.step against raw batched MuJoCo on the same trajectories.

python benchmarks/sim.py [--num-envs 64 128] [--steps 150] [--repeats 9]

The expert plays once and its actions are kept. Then, in turns: the vector env replays them (inverse
kinematics, physics, reward, observation, reset), and bare `mujoco.batch` replays the controls that came
out of it, with each reset's state written into its rows: both compute the same trajectories bit for bit.

python benchmarks/sim.py --worlds 64 256 1024 [--task one_leg] [--engine warp] [--device auto] [--steps 20]
    [--repeats 3]

Instead: control steps/s against the number of worlds on an engine, the share of each stage, and a plot in
runs/ (see sim_scaling.py). On a GPU take 64 to 16384 worlds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import mujoco
import mujoco.batch
import numpy as np
import torch
from results import add_row, save_result
from sim_scaling import scale, write_plot

from robofb.envs import make_task
from robofb.interfaces import ScriptedTask
from robofb.sim.mujoco_engine import MujocoEngine
from robofb.sim.vec_env import SimVecEnv
from robofb.sim.warp_engine import WarpEngine


@dataclass
class Recording:
    """What the expert did: actions, controls and the states that resets put in, step by step."""

    start: np.ndarray  # (B, S)
    actions: list[torch.Tensor]  # (B, A) each
    controls: list[np.ndarray]  # (B, nu) each
    resets: list[tuple[np.ndarray, np.ndarray]]  # rows (n,), states (n, S)
    end: np.ndarray  # (B, S)


def record(env: SimVecEnv, steps: int) -> Recording:
    """Play the expert in `env` and keep what a replay needs."""
    assert isinstance(env.task, ScriptedTask)
    agent = env.task.expert(env.num_envs, 1.0)
    obs = env.reset(0)
    agent.reset(torch.ones(env.num_envs, dtype=torch.bool), env.episode_seed)
    recording = Recording(env.engine.snapshot().numpy(), [], [], [], np.empty(0))
    for _ in range(steps):
        action = agent.next(obs)
        env.task.apply(env.engine, action)  # as the step does again; a reset would clear its controls
        recording.actions.append(action)
        recording.controls.append(env.engine.field("ctrl").numpy().copy())
        step = env.step(action)
        rows = step.done.nonzero().squeeze(-1)
        recording.resets.append((rows.numpy(), env.engine.snapshot(rows).numpy()))
        agent.reset(step.done, env.episode_seed)
        obs = step.obs
    recording.end = env.engine.snapshot().numpy()
    return recording


def time_env(env: SimVecEnv, recording: Recording) -> float:
    """Return the seconds that `SimVecEnv.step` takes for the recorded actions."""
    env.reset(0)
    start = time.perf_counter()
    for action in recording.actions:
        env.step(action)
    seconds = time.perf_counter() - start
    np.testing.assert_array_equal(env.engine.snapshot().numpy(), recording.end)
    return seconds


def time_raw(batch: mujoco.batch.Batch, recording: Recording, num_substeps: int) -> float:
    """Return the seconds that bare batched stepping takes for the recorded controls."""
    batch.state[:] = recording.start
    control = batch.bind("ctrl")
    start = time.perf_counter()
    for controls, (rows, states) in zip(recording.controls, recording.resets, strict=True):
        control[:] = controls
        batch.step(nstep=num_substeps)
        if len(rows):
            batch.state[rows] = states
    seconds = time.perf_counter() - start
    np.testing.assert_array_equal(batch.state, recording.end)
    return seconds


def measure(num_envs: int, steps: int, repeats: int) -> dict[str, float]:
    """Time env and raw in turns; return medians of control steps/s of both, and of the turns' ratios."""
    env = SimVecEnv(make_task("one_leg_insert"), num_envs)
    recording = record(env, steps)
    batch = mujoco.batch.Batch(env.engine.model, nsim=num_envs, nthread=0)
    turns = [
        (time_env(env, recording), time_raw(batch, recording, env.task.num_substeps)) for _ in range(repeats)
    ]
    control_steps = num_envs * steps
    return {
        "steps_per_s": statistics.median(control_steps / env_s for env_s, _ in turns),
        "raw_steps_per_s": statistics.median(control_steps / raw_s for _, raw_s in turns),
        "ratio_to_raw_rollout": statistics.median(raw_s / env_s for env_s, raw_s in turns),
    }


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-envs", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--worlds", type=int, nargs="+", help="measure scaling over these instead")
    parser.add_argument("--task", default="one_leg_insert", help="of the scaling")
    parser.add_argument("--engine", choices=["mujoco", "warp"], default="mujoco")
    parser.add_argument("--device", default="auto", help="of the engine warp")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.worlds:
        engines = {"mujoco": MujocoEngine, "warp": partial(WarpEngine, device=args.device)}
        scaling = scale(engines[args.engine], args.task, args.worlds, args.steps, args.repeats)
        write_plot(args.engine, args.task, scaling, Path(f"runs/sim_{args.engine}_{args.task}.html"))
        facts = {"engine": args.engine, "device": args.device, "task": args.task, "steps": args.steps}
        add_row("sim_scaling", "rows", {**facts, "worlds": scaling}, tuple(facts))
        return
    sizes = {str(num_envs): measure(num_envs, args.steps, args.repeats) for num_envs in args.num_envs}
    ratio = min(size["ratio_to_raw_rollout"] for size in sizes.values())
    save_result("sim", {"ratio_to_raw_rollout": ratio, "num_envs": sizes, "repeats": args.repeats})


if __name__ == "__main__":
    main()
