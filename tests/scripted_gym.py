"""Controllers of other packages' environments."""

from __future__ import annotations

import torch
from torch import Tensor

from robofb.rng import EpisodeRng
from robofb.types import Obs

LINKS_M = (0.1, 0.11)


class ReacherExpert:
    """Drive Reacher's tip to its target by the transposed Jacobian; `noise` scales random torques."""

    def __init__(self, num_envs: int, noise: float) -> None:
        self._noise, self._rng = noise, EpisodeRng(torch.zeros(num_envs, dtype=torch.int64))

    def reset(self, mask: Tensor, seeds: Tensor) -> None:
        self._rng.reseed(mask, seeds[mask])

    def next(self, obs: Obs) -> Tensor:
        cos, sin, speed, error = (obs["state"][:, part] for part in ([0, 1], [2, 3], [6, 7], [8, 9]))
        first = LINKS_M[0] * torch.stack([-sin[:, 0], cos[:, 0]], 1)
        both_cos = cos[:, 0] * cos[:, 1] - sin[:, 0] * sin[:, 1]
        both_sin = sin[:, 0] * cos[:, 1] + cos[:, 0] * sin[:, 1]
        second = LINKS_M[1] * torch.stack([-both_sin, both_cos], 1)
        torque = -torch.stack([((first + second) * error).sum(1), (second * error).sum(1)], 1)
        return (60.0 * torque - 0.1 * speed + self._noise * 0.02 * self._rng.normal(2)).clamp(-1, 1)


class MazeExpert:
    """Push PointMaze's ball straight to its goal; `noise` scales random forces."""

    def __init__(self, num_envs: int, noise: float) -> None:
        self._noise, self._rng = noise, EpisodeRng(torch.zeros(num_envs, dtype=torch.int64))

    def reset(self, mask: Tensor, seeds: Tensor) -> None:
        self._rng.reseed(mask, seeds[mask])

    def next(self, obs: Obs) -> Tensor:
        place, goal, speed = (obs["state"][:, part] for part in ([0, 1], [2, 3], [6, 7]))
        return (5.0 * (goal - place) - 1.5 * speed + self._noise * 0.1 * self._rng.normal(2)).clamp(-1, 1)
