"""Episodes of a scripted expert with what only the simulation knows: full states and the expert's phases."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from robofb.envs import make_task
from robofb.envs.furniture.one_leg_insert_expert import OneLegInsertExpert
from robofb.interfaces import ScriptedTask
from robofb.sim.record import Recorder
from robofb.sim.vec_env import SimVecEnv
from robofb.types import SOURCE_SCRIPTED, EnvSpec, Episode


def record_scripted(
    episodes: int, seed: int = 0, noise: float = 1.0, cameras: Mapping[str, tuple[int, int]] | None = None
) -> tuple[EnvSpec, list[tuple[Episode, list[int]]]]:
    """Play the expert of one_leg_insert once in each of `episodes` worlds.

    Args:
        cameras: height and width [px] of image observations by the camera's name.

    Returns:
        The spec with the key `sim_state`, and each episode with the expert's phase at each action.
    """
    env = SimVecEnv(make_task("one_leg_insert"), episodes, cameras=cameras, autoreset=False, sim_state=True)
    assert isinstance(env.task, ScriptedTask)
    agent = env.task.expert(episodes, noise)
    assert isinstance(agent, OneLegInsertExpert)
    obs = env.reset(seed)
    agent.reset(torch.ones(episodes, dtype=torch.bool), env.episode_seed)
    recorder = Recorder(env, obs, SOURCE_SCRIPTED)
    phases: list[list[int]] = [[] for _ in range(episodes)]
    found: dict[int, Episode] = {}
    while len(found) < episodes:
        action = agent.next(obs)
        step = env.step(action)
        obs = step.obs
        recorder.add(action, step.reward, obs)
        for world in set(range(episodes)) - set(found):
            phases[world].append(int(agent.phase[world]))
            if step.done[world]:
                success, terminated = bool(step.info["success"][world]), bool(step.terminated[world])
                meta = {"episode_seed": int(env.episode_seed[world]), "noise": noise}
                found[world] = recorder.cut(world, success, terminated, meta)
    env.close()
    return env.spec, [(found[world], phases[world]) for world in range(episodes)]
