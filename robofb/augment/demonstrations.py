"""What augmentation takes from a dataset: bottlenecks, with the simulator's state at each."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from robofb.augment.bottlenecks import command_switches, find_bottlenecks
from robofb.augment.poses import action_columns, pose_key
from robofb.errors import UserError
from robofb.sim.recorded import RecordedScene
from robofb.sim.vec_env import SimVecEnv
from robofb.store.bottlenecks import BOTTLENECKS, Bottleneck, load_bottlenecks
from robofb.store.episodes import EpisodeStore
from robofb.types import SIM_STATE, EnvSpec, Episode

LOG = logging.getLogger(__name__)
SAME_STATE = 1e-3  # largest difference of what is seen and what was recorded [m, 1, m/s, rad/s]


@dataclass(frozen=True)
class Start:
    """A bottleneck of a demonstration, as augmentation starts from it.

    Attributes:
        episode, mark: which.
        until: step after the last action of the demonstration that a snippet repeats.
        sim_state: (S,) float64, the simulator's state there.
        hold: the gripper's command up to there.
        onward: (until - mark.step, A) float32, the demonstration's actions from there.
        goal: (D,) float32, what it shows after them.
        succeeds: it solves the task with the last of them.
        facts: meta of the demonstration.
    """

    episode: int
    mark: Bottleneck
    until: int
    sim_state: np.ndarray
    hold: float
    onward: np.ndarray
    goal: np.ndarray
    succeeds: bool
    facts: Mapping[str, Any]


def find_starts(store: EpisodeStore, env: SimVecEnv, after_change: int, rule: str = "auto") -> list[Start]:
    """Return where snippets may start: every bottleneck of a dataset, with a state that is true.

    Bottlenecks are an episode's marks; in one that holds none, those that a rule finds. One at the very end
    is left out: nothing goes on from there. Where the dataset holds no simulator states, the episodes'
    actions are replayed from their seeds.

    Args:
        env: of the dataset's task; its worlds serve for replaying and checking.
        after_change: a snippet goes on for so many steps after the next change of the gripper.
        rule: see `find_bottlenecks`.

    Raises:
        UserError: no bottleneck, no such rule, marks that are not sound, or the simulator does not show
            what was recorded.
    """
    key, gripper = pose_key(store.spec), action_columns(store.spec.action).gripper
    scene = RecordedScene(env.engine.model)
    found: list[Start] = []
    strayed: list[int] = []
    numbers = range(len(store))
    for first in range(0, len(store), env.num_envs):
        group = list(numbers[first : first + env.num_envs])
        episodes = [store[number] for number in group]
        states = _recorded_states(episodes, env) or _replayed_states(store, group, episodes, env)
        for number, episode, rows in zip(group, episodes, states, strict=True):
            if rows is None:
                strayed.append(number)
                continue
            seen = replace(episode, obs={**episode.obs, SIM_STATE: rows})
            try:
                marks = _marks_of(seen, store.spec, rule, scene)
            except UserError as error:
                raise UserError(f"{store.path}: episode {number}: {error}") from None
            found += [_start(number, seen, mark, key, gripper, after_change) for mark in marks]
    if strayed:
        LOG.warning("%s: %d episodes do not repeat in this simulator: left out", store.path, len(strayed))
    if not found:
        none_found = f"there are no marks, and rule {rule} finds none"
        why = "none repeats in this simulator" if strayed else none_found
        raise UserError(f"{store.path} has no bottleneck to start from: {why}")
    _check_first(found[0], store, env)
    return found


def _marks_of(episode: Episode, spec: EnvSpec, rule: str, scene: RecordedScene) -> list[Bottleneck]:
    """Return an episode's marks before its last step, by the rule where its meta has none at all."""
    if BOTTLENECKS in episode.meta:
        marks = load_bottlenecks(episode.meta, len(episode))
    else:
        marks = find_bottlenecks(episode, spec, rule, scene)
    return [mark for mark in marks if mark.step < len(episode)]


def _start(
    number: int, episode: Episode, mark: Bottleneck, key: str, gripper: int, after_change: int
) -> Start:
    command = episode.action[:, gripper]
    later = [step for step, _ in command_switches(command) if step >= max(mark.step, 1)]
    until = min(len(episode), later[0] + after_change) if later else len(episode)
    return Start(
        episode=number,
        mark=mark,
        until=until,
        sim_state=episode.obs[SIM_STATE][mark.step],
        hold=float(command[max(mark.step - 1, 0)]),
        onward=episode.action[mark.step : until],
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


def _check_first(first: Start, store: EpisodeStore, env: SimVecEnv) -> None:
    """Refuse a simulator that shows other observations in a recorded state than were recorded."""
    key = pose_key(store.spec)
    state = torch.from_numpy(np.stack([first.sim_state] * env.num_envs))
    recorded = store[first.episode].obs[key][first.mark.step]
    difference = np.abs(env.restore(state)[key][0].numpy() - recorded).max()
    if not difference <= SAME_STATE:
        raise UserError(
            f"{store.path}, episode {first.episode}, step {first.mark.step}: this task shows {key} "
            f"{difference:.3g} away from what was recorded; is it another task or version?"
        )
