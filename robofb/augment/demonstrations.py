"""What augmentation takes from a dataset: bottlenecks, with the simulator's state at each."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from robofb.augment.poses import pose_key
from robofb.errors import UserError
from robofb.sim.vec_env import SimVecEnv
from robofb.store.episodes import EpisodeStore
from robofb.types import SIM_STATE, Episode

LOG = logging.getLogger(__name__)
LEAD_STEPS = 5  # how long before a successful end without a gripper change the fallback rule marks
SAME_STATE = 1e-3  # largest difference of what is seen and what was recorded [m, 1, m/s, rad/s]


@dataclass(frozen=True)
class Bottleneck:
    """A moment of a demonstration that augmentation starts from.

    Attributes:
        episode, step: where: the observation before that action.
        until: step after the last action of the demonstration that a snippet repeats.
        by, why: who marked it and what for.
        sim_state: (S,) float64, the simulator's state there.
        hold: the gripper's command up to there.
        onward: (until - step, A) float32, the demonstration's actions from there.
        goal: (D,) float32, what it shows after them.
        succeeds: it solves the task with the last of them.
        facts: meta of the demonstration.
    """

    episode: int
    step: int
    until: int
    by: str
    why: str
    sim_state: np.ndarray
    hold: float
    onward: np.ndarray
    goal: np.ndarray
    succeeds: bool
    facts: Mapping[str, Any]


def gripper_changes(gripper: np.ndarray) -> np.ndarray:
    """Return the steps whose command (T,) opens or closes the gripper other than the step before."""
    return np.flatnonzero(np.diff(gripper > 0)) + 1


def marks_of(episode: Episode, gripper: int, name: str) -> list[dict[str, Any]]:
    """Return an episode's bottleneck marks; without any, what a simple rule takes for such.

    The rule: every change of the gripper's command, and `LEAD_STEPS` before a success that comes with
    the gripper closed.

    Args:
        gripper: column of the gripper in the action.
        name: of the episode, for messages.

    Raises:
        UserError: a mark lies outside the episode.
    """
    marks = episode.meta.get("bottlenecks")
    if marks is None:
        command = episode.action[:, gripper]
        marks = [{"step": int(step), "by": "rule", "why": "gripper"} for step in gripper_changes(command)]
        if episode.success and command[-1] > 0 and len(episode) > LEAD_STEPS:
            marks.append({"step": len(episode) - LEAD_STEPS, "by": "rule", "why": "before success"})
    for mark in marks:
        step = mark.get("step") if isinstance(mark, dict) else None
        if type(step) is not int or not 0 <= step < len(episode):
            raise UserError(f"{name}: bottleneck {mark} needs a step in 0..{len(episode) - 1}")
    return marks


def find_bottlenecks(
    store: EpisodeStore, env: SimVecEnv, gripper: int, after_change: int
) -> list[Bottleneck]:
    """Return every bottleneck of a dataset, with states that lead to what was recorded.

    Where the dataset holds no simulator states, the episodes' actions are replayed from their seeds.

    Args:
        env: of the dataset's task; its worlds serve for replaying and checking.
        gripper: column of the gripper in the action.
        after_change: a snippet goes on for so many steps after the next change of the gripper.

    Raises:
        UserError: no bottleneck, or the simulator does not show what was recorded.
    """
    key = pose_key(store.spec)
    found: list[Bottleneck] = []
    strayed: list[int] = []
    numbers = range(len(store))
    for first in range(0, len(store), env.num_envs):
        group = list(numbers[first : first + env.num_envs])
        episodes = [store[number] for number in group]
        states = _recorded_states(episodes, env) or _replayed_states(store, group, episodes, env)
        for number, episode, rows in zip(group, episodes, states, strict=True):
            marks = marks_of(episode, gripper, f"{store.path}, episode {number}")
            if rows is None:
                strayed.append(number)
                continue
            found += [_bottleneck(number, episode, mark, rows, key, gripper, after_change) for mark in marks]
    if strayed:
        LOG.warning("%s: %d episodes do not repeat in this simulator: left out", store.path, len(strayed))
    if not found:
        why = "none repeats in this simulator" if strayed else "there are no marks and no gripper changes"
        raise UserError(f"{store.path} has no bottleneck to start from: {why}")
    _check_first(found[0], store, env)
    return found


def _bottleneck(
    number: int,
    episode: Episode,
    mark: dict[str, Any],
    states: np.ndarray,
    key: str,
    gripper: int,
    after_change: int,
) -> Bottleneck:
    step, command = mark["step"], episode.action[:, gripper]
    later = gripper_changes(command)
    later = later[later >= max(step, 1)]
    until = min(len(episode), int(later[0]) + after_change) if len(later) else len(episode)
    return Bottleneck(
        episode=number,
        step=step,
        until=until,
        by=str(mark.get("by", "")),
        why=str(mark.get("why", "")),
        sim_state=states[step],
        hold=float(command[max(step - 1, 0)]),
        onward=episode.action[step:until],
        goal=episode.obs[key][until],
        succeeds=until == len(episode) and episode.success,
        facts=episode.meta,
    )


def _recorded_states(episodes: Sequence[Episode], env: SimVecEnv) -> list[np.ndarray | None]:
    """Return the recorded simulator states (T + 1, S) of each episode; nothing where there are none."""
    if SIM_STATE not in episodes[0].obs:
        return []
    size = env.spec.obs[SIM_STATE].shape[0]
    held = episodes[0].obs[SIM_STATE].shape[1]
    if held != size:
        raise UserError(f"recorded simulator states have {held} values, this simulator's {size}")
    return [episode.obs[SIM_STATE] for episode in episodes]


def _replayed_states(
    store: EpisodeStore, group: Sequence[int], episodes: Sequence[Episode], env: SimVecEnv
) -> list[np.ndarray | None]:
    """Return states (T + 1, S) reached by repeating each episode, None where it takes another course."""
    seeds = torch.zeros(env.num_envs, dtype=torch.int64)
    for row, (number, episode) in enumerate(zip(group, episodes, strict=True)):
        if type(episode.meta.get("episode_seed")) is not int:
            raise UserError(
                f"{store.path}, episode {number} has no {SIM_STATE}, and no episode_seed to repeat it from"
            )
        seeds[row] = episode.meta["episode_seed"]
    key = pose_key(store.spec)
    obs = env.repeat(seeds)
    seen, states = [obs[key]], [obs[SIM_STATE]]
    for index in range(max(len(episode) for episode in episodes)):
        rows = [episode.action[min(index, len(episode) - 1)] for episode in episodes]
        rows += [rows[0]] * (env.num_envs - len(rows))
        obs = env.step(torch.from_numpy(np.stack(rows))).final_obs
        seen.append(obs[key])
        states.append(obs[SIM_STATE])
    course, full = torch.stack(seen, 1).numpy(), torch.stack(states, 1).numpy()  # (B, T + 1, ...)
    return [
        full[row, : len(episode) + 1]
        if np.abs(course[row, : len(episode) + 1] - episode.obs[key]).max() <= SAME_STATE
        else None
        for row, episode in enumerate(episodes)
    ]


def _check_first(first: Bottleneck, store: EpisodeStore, env: SimVecEnv) -> None:
    """Refuse a simulator that shows other observations in a recorded state than were recorded."""
    key = pose_key(store.spec)
    state = torch.from_numpy(np.stack([first.sim_state] * env.num_envs))
    difference = np.abs(env.restore(state)[key][0].numpy() - store[first.episode].obs[key][first.step]).max()
    if not difference <= SAME_STATE:
        raise UserError(
            f"{store.path}, episode {first.episode}, step {first.step}: this task shows {key} "
            f"{difference:.3g} away from what was recorded; is it another task or version?"
        )
