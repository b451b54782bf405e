"""Small histories of a family of tasks."""

from __future__ import annotations

import torch

from robofb.envs.meta.grid_navi import GridNavi
from robofb.rl.histories import Histories

FAMILY = GridNavi()


def walks(num_agents: int = 4, episodes: int = 6, horizon: int = 5, ragged: bool = True) -> Histories:
    """Return random walks on GridNavi's grid, paid as the goals of the first tasks do; some end early."""
    generator = torch.Generator().manual_seed(0)
    params = FAMILY.all_params()[:num_agents]
    action = torch.randint(5, (num_agents, episodes, horizon, 1), generator=generator)
    moves = torch.tensor([(0.0, 0.0), (0, -1), (1, 0), (0, 1), (-1, 0)])
    obs = torch.zeros(num_agents, episodes, horizon + 1, 2)
    for t in range(horizon):
        obs[:, :, t + 1] = (obs[:, :, t] + moves[action[:, :, t, 0]]).clamp(0, 4)
    length = torch.full((num_agents, episodes), horizon)
    if ragged:
        length = torch.randint(1, horizon + 1, (num_agents, episodes), generator=generator)
    reward = FAMILY.relabel(params[:, None, None], obs[:, :, :-1], action, obs[:, :, 1:])
    by = torch.arange(num_agents)[:, None].expand(-1, episodes)
    return Histories(obs, action, reward, length, params, by)


def visits(num_agents: int = 2, episodes: int = 40, horizon: int = 8) -> Histories:
    """Return walks to one of the first tasks' goals after the other, whosever it is, where one then stays.

    What is done says nothing of the task, only what is paid.
    """
    params = FAMILY.all_params()[:num_agents]
    goal = torch.arange(episodes) % num_agents
    step = torch.arange(horizon + 1.0)
    obs = torch.minimum(step[None, :, None], params[goal][:, None])  # the goals lie in the first row
    obs = obs.expand(num_agents, -1, -1, -1).contiguous()
    moved = (obs[:, :, 1:] != obs[:, :, :-1]).any(-1, keepdim=True)
    action = torch.where(moved, 2, 0)
    reward = FAMILY.relabel(params[:, None, None], obs[:, :, :-1], action, obs[:, :, 1:])
    length = torch.full((num_agents, episodes), horizon)
    by = torch.arange(num_agents)[:, None].expand(-1, episodes)
    return Histories(obs, action, reward, length, params, by)
