"""Read the training histories that BOReL's own code writes: a folder of flat arrays for each agent.

`<env>/data/seed_<s>_<name>_<parameters>/{obs,actions,rewards,next_obs}.npy`, rows in the order in which they
were collected, episodes all as long as the horizon. Its `terminals` mark goals at which episodes go on, and
are not read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robofb.errors import DamagedError, UserError
from robofb.store.foreign import reading
from robofb.types import SOURCE_POLICY, EnvSpec, Episode

_FOLDER = re.compile(r"seed_(\d+)_[A-Za-z]+((?:_-?\d+(?:\.\d+)?(?:e-?\d+)?)+)")
_ARRAYS = ("obs", "actions", "rewards", "next_obs")


@dataclass(frozen=True)
class BatchAgent:
    """The folder of one agent.

    Attributes:
        folder: where its arrays are.
        seed: of its training.
        params: of its task, as the folder's name has them.
    """

    folder: Path
    seed: int
    params: tuple[float, ...]


def find_agents(root: Path, num_params: int) -> list[BatchAgent]:
    """Return the agents in a folder, or in its `data`, by their seeds.

    Raises:
        UserError: there are none, or a name has no parameters or another number of them.
    """
    place = root / "data" if (root / "data").is_dir() else root
    folders = sorted(place.iterdir()) if place.is_dir() else []
    named = [(folder, _FOLDER.fullmatch(folder.name)) for folder in folders]
    histories = [(folder, match) for folder, match in named if match or (folder / "obs.npy").exists()]
    if not histories:
        raise UserError(f"{root} holds no folders such as seed_0_goal_3_1 with an agent's history")
    agents = []
    for folder, match in histories:
        if match is None:
            raise UserError(f"{folder}: its name does not say the agent's task, as seed_0_goal_3_1 does")
        params = tuple(float(word) for word in match[2].split("_")[1:])
        if len(params) != num_params:
            raise UserError(f"{folder}: {len(params)} numbers after the seed; tasks here have {num_params}")
        agents.append(BatchAgent(folder, int(match[1]), params))
    return sorted(agents, key=lambda agent: (agent.seed, agent.folder.name))


def read_agent(agent: BatchAgent, number: int, spec: EnvSpec, horizon: int) -> list[Episode]:
    """Return an agent's episodes in the order in which they were collected.

    A last column of observations beyond the spec's, in which they mark the ends of episodes, is left out. An
    episode counts as a success where its last step is paid more than 0.

    Args:
        agent: whose.
        number: of the agent, that the episodes name as who acted.
        spec: of the family, with "state" alone.
        horizon: steps of each episode.

    Raises:
        UserError: arrays that are missing, do not fit each other or the spec, or hold NaN.
    """
    obs, actions, rewards, next_obs = (_load(agent.folder / f"{name}.npy") for name in _ARRAYS)
    steps = len(obs)
    state_dim = spec.obs["state"].shape[0]
    obs, next_obs = (_states(part, state_dim, steps, agent.folder) for part in (obs, next_obs))
    action = _actions(actions, spec, steps, agent.folder)
    reward = rewards.reshape(len(rewards), -1).astype(np.float32)
    if reward.shape != (steps, 1):
        raise DamagedError(f"{agent.folder / 'rewards.npy'} has shape {rewards.shape}, expected ({steps}, 1)")
    if steps == 0 or steps % horizon:
        raise UserError(f"{agent.folder} has {steps} steps: no whole number of episodes of {horizon}")
    follows = np.arange(1, steps) % horizon != 0
    if not np.allclose(next_obs[:-1][follows], obs[1:][follows], atol=1e-4):
        raise UserError(
            f"{agent.folder}: next_obs is not the following obs inside of episodes of {horizon} steps;"
            " say their real length with --horizon"
        )
    return [
        Episode(
            obs={
                "state": np.concatenate([obs[first : first + horizon], next_obs[first + horizon - 1 :][:1]])
            },
            action=action[first : first + horizon],
            reward=reward[first : first + horizon, 0],
            terminated=False,
            success=bool(reward[first + horizon - 1, 0] > 0),
            timestamps=np.arange(horizon + 1) * spec.control_dt,
            source=np.full(horizon, SOURCE_POLICY, np.uint8),
            meta={"by_agent": number, "iteration": first // horizon},
        )
        for first in range(0, steps, horizon)
    ]


def _load(path: Path) -> np.ndarray:
    with reading(path):
        array: np.ndarray = np.load(path, allow_pickle=False)
    if not np.issubdtype(array.dtype, np.number) or not np.isfinite(array).all():
        raise UserError(f"{path} holds {array.dtype} with values that are no finite numbers")
    return array


def _states(array: np.ndarray, state_dim: int, steps: int, folder: Path) -> np.ndarray:
    if array.ndim != 2 or len(array) != steps or array.shape[1] not in (state_dim, state_dim + 1):
        raise UserError(f"{folder}: observations of shape {array.shape}, expected ({steps}, {state_dim})")
    return array[:, :state_dim].astype(np.float32)


def _actions(array: np.ndarray, spec: EnvSpec, steps: int, folder: Path) -> np.ndarray:
    action = array.reshape(len(array), -1)
    if action.shape != (steps, *spec.action.shape):
        raise UserError(
            f"{folder}: actions of shape {array.shape}, expected ({steps}, {spec.action.shape[0]})"
        )
    if spec.action.dtype == "int64" and (action != np.round(action)).any():
        raise UserError(f"{folder}: actions that are no whole numbers, but {spec.task} takes choices")
    low, high = spec.action.low, spec.action.high
    if low is not None and high is not None and ((action < low) | (action > high)).any():
        raise UserError(f"{folder}: actions beyond the bounds {list(low)} to {list(high)} of {spec.task}")
    return action.astype(spec.action.dtype)
