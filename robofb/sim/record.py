"""Record what an agent does in a vector env, as episodes of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robofb.errors import UserError
from robofb.interfaces import Agent, VecEnv
from robofb.progress import progress_bar
from robofb.rng import derive_seeds
from robofb.store.episodes import EpisodeStore
from robofb.types import Episode, Obs


@dataclass
class Collected:
    """What a collection did.

    Attributes:
        path: the dataset's folder.
        kept: episodes recorded now.
        discarded: failures thrown away now.
        total: episodes that the dataset holds.
    """

    path: str
    kept: int
    discarded: int
    total: int


def record_episodes(
    agent: Agent,
    env: VecEnv,
    store: EpisodeStore,
    episodes: int,
    seed: int,
    meta: dict[str, Any],
    *,
    source: int,
    max_attempts: int,
    advice: str = "raise max_attempts",
    success_only: bool = True,
) -> Collected:
    """Append episodes of `agent` until `store` holds `episodes`.

    Args:
        seed: of the start states; what a continued dataset gets depends on how many episodes it holds.
        meta: facts of every episode; its `episode_seed` is added.
        source: the SOURCE_ flag of the actions.
        max_attempts: give up after this many failures per missing episode.
        advice: what the user may do then.
        success_only: throw failures away; else nothing is thrown away.

    Raises:
        UserError: the agent fails too often.
    """
    missing = episodes - len(store)
    discarded = kept = 0
    start_seed = int(derive_seeds(seed, len(store)))  # a continued dataset gets new start states
    obs = env.reset(start_seed)
    agent.reset(torch.ones(env.num_envs, dtype=torch.bool), env.episode_seed)
    recorder = Recorder(env, obs, source)
    with progress_bar(episodes, "episodes", "episode", len(store)) as bar:
        while kept < missing:
            seeds = env.episode_seed
            action = agent.next(obs)
            step = env.step(action)
            recorder.add(action, step.reward, step.final_obs)
            for world in step.done.nonzero().flatten().tolist():
                success = bool(step.info["success"][world])
                wanted = success or not success_only
                discarded += not wanted
                if wanted and kept < missing:
                    facts = {**meta, "episode_seed": int(seeds[world])}
                    store.append(recorder.cut(world, success, bool(step.terminated[world]), facts))
                    kept += 1
                    bar.update()
            obs = step.obs
            recorder.restart(step.done, obs)
            agent.reset(step.done, env.episode_seed)
            if discarded > max_attempts * max(missing, 1):
                raise UserError(
                    f"gave up after {discarded} failed attempts with {len(store)} of {episodes} episodes: "
                    f"{advice}"
                )
    return Collected(str(store.path), kept, discarded, len(store))


class Recorder:
    """Keep what happened in every env since its episode began, and cut finished episodes out.

    Args:
        env: whose steps are recorded.
        obs: its first observations.
        source: the SOURCE_ flag of all actions.
    """

    def __init__(self, env: VecEnv, obs: Obs, source: int) -> None:
        self.control_dt_s, self.source = env.spec.control_dt, source
        self._obs: list[list[dict[str, np.ndarray]]] = [[] for _ in range(env.num_envs)]
        self._action: list[list[np.ndarray]] = [[] for _ in range(env.num_envs)]
        self._reward: list[list[float]] = [[] for _ in range(env.num_envs)]
        self.restart(torch.ones(env.num_envs, dtype=torch.bool), obs)

    def restart(self, mask: Tensor, obs: Obs) -> None:
        """Begin new episodes in the envs of `mask` (B,) with first observations `obs`."""
        for world in mask.nonzero().flatten().tolist():
            self._obs[world] = [{key: value[world].cpu().numpy().copy() for key, value in obs.items()}]
            self._action[world], self._reward[world] = [], []

    def add(self, action: Tensor, reward: Tensor, next_obs: Obs) -> None:
        """Append one control step of every env: action, its reward and the observations after it."""
        actions, rewards = action.float().cpu().numpy(), reward.cpu().numpy()
        arrays = {key: value.cpu().numpy() for key, value in next_obs.items()}
        for world in range(len(actions)):
            self._obs[world].append({key: value[world].copy() for key, value in arrays.items()})
            self._action[world].append(actions[world].copy())
            self._reward[world].append(float(rewards[world]))

    def cut(self, world: int, success: bool, terminated: bool, meta: dict[str, Any]) -> Episode:
        """Return the finished episode of one env."""
        steps = len(self._action[world])
        return Episode(
            obs={key: np.stack([row[key] for row in self._obs[world]]) for key in self._obs[world][0]},
            action=np.stack(self._action[world]),
            reward=np.asarray(self._reward[world], np.float32),
            terminated=terminated,
            success=success,
            timestamps=np.arange(steps + 1) * self.control_dt_s,
            source=np.full(steps, self.source, np.uint8),
            meta=meta,
        )
